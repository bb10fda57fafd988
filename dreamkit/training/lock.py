"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

NAME = "run.lock"
"The file that is locked; it stays, and means nothing when no process holds it."


class FolderBusy(ValueError):
    """Another process works in the folder; the message says what to do."""


@contextmanager
def exclusive(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the folder while the block runs; the folder is made where there is none.

    The lock belongs to the operating system (flock, on Windows msvcrt), so it goes with the process that held it: a
    process that was killed leaves nothing that blocks the next one. `wait` is how many seconds a holder is given to
    go away. Raises FolderBusy, and OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A generator that holds the lock may be closed by another thread than the one that started it.
    lock = FileLock(folder / NAME, timeout=wait, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise FolderBusy(
            f"another process is at work in {folder}. Wait until it has finished, or choose another folder: --out DIR"
        ) from error
    try:
        yield
    finally:
        lock.release()
