"""Worker processes end with the process that started them, however it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from dreamkit.workers import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def runs(process: int) -> bool:
    """Whether it does anything still; one that waits to be buried does not."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for the worker in /proc")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, ending: signal.Signals) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert runs(worker)
        parent.send_signal(ending)
        until = time.monotonic() + 60
        while runs(worker) and time.monotonic() < until:
            time.sleep(0.05)
    assert not runs(worker)
