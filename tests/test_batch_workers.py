"""Real workers: bytes do not depend on their number, their order or their deaths."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from tiny_batches import TINY, checksums, plan, worker_at

from dreamkit.batch.pool import ATTEMPTS, LocalPool, WorkersBroken
from dreamkit.batch.result import Result
from dreamkit.rendering import Step

COMMAND = [sys.executable, "-m", "dreamkit", "batch"]
OPTIONS = ["--device", "cpu", *[part for setting in TINY for part in ("--set", setting)]]


def pool(out: Path, workers: int) -> LocalPool:
    out.mkdir(exist_ok=True)
    return LocalPool(workers, out / "workers.log")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prompts and a bad one between them, made by one worker."""
    out = tmp_path_factory.mktemp("alone")
    events = list(pool(out, 1).run(plan(out, "a red mug", "a red dragon", "a blue cat")))
    results = {event.task.prompt: event.said for event in events if isinstance(event.said, Result)}
    assert {prompt: result.status for prompt, result in results.items()} == {
        "a red mug": "done", "a red dragon": "failed", "a blue cat": "done",
    }  # fmt: skip
    assert "dragon" in results["a red dragon"].error
    # The second asset found the prior loaded.
    assert results["a red mug"].numbers["prior_seconds"] > 0
    assert results["a blue cat"].numbers["prior_seconds"] == 0
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)  # A busy machine may take minutes to start a worker.
def test_two_workers_in_another_order_one_of_them_killed_give_the_same_bytes(alone: Path, tmp_path: Path) -> None:
    """The first worker that reaches a checkpoint is killed with kill -9; another goes on from it."""
    victims: list[int] = []
    events = []
    for event in pool(tmp_path, 2).run(plan(tmp_path, "a blue cat", "a red mug")):
        events.append(event)
        if not victims and not isinstance(event.said, Result) and event.said.index == 3:
            victims.append(worker_at(Path(event.task.folder)))
            os.kill(victims[0], signal.SIGKILL)
    assert [event.said.status for event in events if isinstance(event.said, Result)] == ["done", "done"]
    notes = [event.said.note for event in events if not isinstance(event.said, Result) and event.said.note]
    assert any("killed by signal 9" in note for note in notes)
    assert checksums(tmp_path) == checksums(alone)
    assert not list(tmp_path.rglob("*.previous.safetensors"))


@pytest.mark.slow
@pytest.mark.timeout(900)  # A busy machine may take minutes to start a worker.
def test_a_batch_that_is_killed_leaves_no_workers_and_resumes_to_the_same_bytes(alone: Path, tmp_path: Path) -> None:
    """Ctrl-C at the first checkpoint, kill -9 at the first result, then to the end, then once more."""
    file, out = tmp_path / "prompts.txt", tmp_path / "out"
    file.write_text("a red mug\na blue cat\n")
    command = [*COMMAND, str(file), "--out", str(out), "--workers", "1", *OPTIONS]
    ends = [
        _ended(command, out, *blow)
        for blow in ((signal.SIGINT, "checkpoint.safetensors"), (signal.SIGKILL, "result.json"))
    ]
    assert ends == [130, -signal.SIGKILL]
    assert len(list(out.glob("*/result.json"))) == 1
    # The worker of the killed batch notices by itself, and the next call need not wait for that.
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert checksums(out) == checksums(alone)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "2 done before; nothing to do" in again.stderr


def _ended(command: list[str], out: Path, blow: signal.Signals, sign: str) -> int:
    """Run the batch until a file appears, end it, see its workers end; returns the exit code."""
    # A shell's background jobs ignore Ctrl-C, and so would the batch where the tests are one.
    attend = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, preexec_fn=attend, **quiet)
    # Not Process.children(), which compares times of creation: these jump where the clock of a virtual machine is set.
    workers = _awaited(lambda: [p for p in psutil.process_iter(["ppid"]) if p.info["ppid"] == process.pid], process)
    _awaited(lambda: list(out.glob(f"*/{sign}")), process)
    process.send_signal(blow)
    code = process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    return code


def _awaited(look: Callable[[], list], process: subprocess.Popen) -> list:
    """What `look` finds, as soon as it finds anything."""
    deadline = time.monotonic() + 240
    while not (found := look()):
        assert process.poll() is None, "the batch ended before it could be stopped"
        assert time.monotonic() < deadline, "the batch took too long"
        time.sleep(0.05)
    return found


def test_workers_that_cannot_start_are_told_with_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that ends at once stands for an installation that is broken."""
    pretend(tmp_path, monkeypatch, "import sys\nprint('the libraries are gone', file=sys.stderr)\nsys.exit(3)\n")
    with pytest.raises(WorkersBroken, match="exit code 3"):
        list(pool(tmp_path, 1).run(plan(tmp_path, "a red mug")))
    assert (tmp_path / "workers.log").read_text().count("the libraries are gone") == ATTEMPTS


SLEEPY = """
import json, pathlib, sys, time
print(json.dumps({"event": "ready"}), flush=True)
for line in sys.stdin:
    for task in json.loads(line):
        if "mug" in task["prompt"] and not pathlib.Path(task["folder"]).exists():
            pathlib.Path(task["folder"]).mkdir()
            time.sleep(600)
        print(json.dumps({"event": "result", "key": task["key"], "status": "done"}), flush=True)
"""
"A worker that hangs when it meets a mug for the first time."


def test_a_worker_that_hangs_is_replaced_and_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, SLEEPY)
    tasks = plan(tmp_path, "a red mug", "a blue cat", "a red car")
    # Ten seconds, so that a busy machine can start a worker meanwhile.
    events = list(LocalPool(2, tmp_path / "workers.log", patience=10.0).run(tasks))
    notes = [(event.task.prompt, event.said.note) for event in events if isinstance(event.said, Step)]
    assert notes == [("a red mug", "the worker died (silent for 10 s); again from its checkpoint")]
    ended = [(event.task.prompt, event.said.status) for event in events if isinstance(event.said, Result)]
    assert ended == [("a blue cat", "done"), ("a red car", "done"), ("a red mug", "done")]


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in the place of Python."""
    python = folder / "python"
    python.write_text(f"#!{sys.executable}\n{script}")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def test_numbers_of_workers_and_threads_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers=0"):
        LocalPool(0, tmp_path / "log")
    with pytest.raises(ValueError, match="pack=0"):
        LocalPool(1, tmp_path / "log", pack=0)
    with pytest.raises(ValueError, match="patience=0"):
        LocalPool(1, tmp_path / "log", patience=0)
