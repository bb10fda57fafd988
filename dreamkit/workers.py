"""Worker processes that do not outlive those who started them."""

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_parent() -> None:
    """Watch the process that started this one, and end as soon as it is gone, however it went.

    A pool ends its workers when its process leaves in order; a SIGTERM or SIGKILL would let them run on, for hours.
    """
    Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        # Not sys.exit, which would end this thread only. Runs keep what they wrote: files are replaced whole.
        os._exit(1)
