"""Workers on this machine: processes that survive each other."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dreamkit.batch.result import Result, failure
from dreamkit.batch.task import Task
from dreamkit.batch.worker import heard
from dreamkit.rendering import Step

ATTEMPTS = 4
"How often a task is begun before it is given up: each attempt goes on from the checkpoint of the one before."


@dataclass(frozen=True)
class Event:
    """What a worker says of its task: a step, or the result."""

    worker: int
    task: Task
    said: Step | Result


class AbstractPool(ABC):
    """Whatever can carry out tasks: processes here, or machines elsewhere."""

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """Carry out the tasks in any order; each one has exactly one result. Closing the iterator stops the work."""


class WorkersBroken(OSError):
    """Workers cannot even start; the message says where their own words are."""


@dataclass(frozen=True)
class LocalPool(AbstractPool):
    """`workers` processes of `threads` threads each.

    The bytes of an asset depend on the number of threads, and so not on the number of workers. A worker that dies (out
    of memory, kill -9) is replaced, and its task goes on from its checkpoint.
    """

    workers: int
    log: Path
    "Where warnings and tracebacks of the workers go."
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1:
            raise ValueError(f"a batch needs workers >= 1 and threads >= 1; got {self.workers} and {self.threads}")

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """See `AbstractPool.run`. Raises WorkersBroken."""
        waiting, inbox, attempts = deque(tasks), queue.SimpleQueue(), Counter()
        workers = [_Worker(number, self, inbox) for number in range(min(self.workers, len(tasks)))]
        try:
            for worker in workers:
                worker.begin(waiting.popleft())
            while any(worker.task for worker in workers):
                worker, message = inbox.get()
                if message is None:
                    yield from _mourn(worker, attempts, waiting, self.log)
                elif message["event"] == "ready":
                    worker.ready = True
                else:
                    said = heard(message)
                    yield Event(worker.number, worker.task, said)
                    worker.task = None if isinstance(said, Result) else worker.task
                if worker.task is None and waiting:
                    worker.begin(waiting.popleft())
        finally:
            for worker in workers:
                worker.stop()


def _mourn(worker: "_Worker", attempts: Counter[str], waiting: deque[Task], log: Path) -> Iterator[Event]:
    """A worker is dead: its task is tried again, or given up."""
    task, code, was_ready = worker.task, worker.process.wait(), worker.ready
    worker.stillborn = 0 if was_ready else worker.stillborn + 1
    if worker.stillborn >= ATTEMPTS:
        raise WorkersBroken(f"workers end before they begin (exit code {code}); see {log} for what they said")
    worker.start()
    worker.task = None
    if task is not None and was_ready:
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}; see {log}"
        yield Event(worker.number, task, try_again(task, attempts, waiting, reason))
    elif task is not None:
        waiting.appendleft(task)


def try_again(task: Task, attempts: Counter[str], waiting: deque[Task], reason: str) -> Step | Result:
    """What to say of a task whose worker is gone: it is waiting again, or has failed for good."""
    attempts[task.key] += 1
    if attempts[task.key] < ATTEMPTS:
        waiting.appendleft(task)
        return Step(0, 0, 0.0, note=f"the worker died ({reason}); again from its checkpoint")
    return failure(task, f"the worker died {ATTEMPTS} times ({reason}); out of memory?", time.monotonic())


@dataclass
class _Worker:
    number: int
    pool: LocalPool
    inbox: "queue.SimpleQueue[tuple[_Worker, dict | None]]"
    task: Task | None = None
    ready: bool = False
    stillborn: int = 0
    "Processes in a row that died before they were ready."
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.ready = False
        threads = str(self.pool.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = [sys.executable, "-m", "dreamkit.batch.worker", self.pool.device, threads]
        with self.pool.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for the parent, which then stops its workers.
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
                encoding="utf-8", start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def begin(self, task: Task) -> None:
        self.task = task
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(asdict(task)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It has just died; the end of its output says so as well, and the task is tried again.
            return

    def stop(self) -> None:
        """A worker ends when its input does; one that hangs in a system call is killed."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # the last words of a process that was killed while it spoke
            self.inbox.put((self, json.loads(line)))
        self.inbox.put((self, None))
