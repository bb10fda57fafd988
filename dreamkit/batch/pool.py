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

from dreamkit.batch.pack import Pack, packs_of
from dreamkit.batch.result import Result, failure
from dreamkit.batch.task import Task
from dreamkit.batch.worker import heard
from dreamkit.rendering import Step

ATTEMPTS = 4
"How often a task is begun before it is given up: each attempt goes on from the checkpoint of the one before."


Places = dict[str, tuple[int, Task]]
"The tasks that a worker has yet to end, by key, and the place of each."


@dataclass(frozen=True)
class Event:
    """What a worker says of a task: a step, or the result."""

    place: int
    "Where it is made: a number for each asset that can be in the making at a time."
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
    """`workers` processes of `threads` threads each, which make `pack` assets at a time.

    The bytes of an asset depend on the number of threads, and so not on the number of workers; in a pack, they depend
    on the others in it as well, by rounding. A worker that dies (out of memory, kill -9) is replaced, and its tasks go
    on from their checkpoints, each one alone: the one that kills its worker then kills no other. One that is silent for
    `patience` seconds is taken to hang, and killed; one that is only slow holds up nothing but itself.
    """

    workers: int
    log: Path
    "Where warnings and tracebacks of the workers go."
    device: str = "cpu"
    threads: int = 1
    pack: int = 1
    patience: float = 3600.0
    "It has to be longer than it takes to load, or to download, a prior: workers are silent meanwhile."

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1 or self.pack < 1 or self.patience <= 0:
            raise ValueError(
                f"a batch needs workers, threads and pack >= 1, and patience > 0; got workers={self.workers}, "
                f"threads={self.threads}, pack={self.pack}, patience={self.patience}"
            )

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """See `AbstractPool.run`. Raises WorkersBroken."""
        waiting, inbox, attempts = deque(packs_of(tasks, self.pack)), queue.SimpleQueue(), Counter()
        workers: list[_Worker] = []
        try:
            for number in range(min(self.workers, len(waiting))):
                workers.append(_Worker(number, self, inbox))
            while waiting or any(worker.places for worker in workers):
                for worker in workers:
                    if waiting and not worker.places:
                        worker.begin(waiting.popleft())
                worker, message = _next(inbox, workers)
                if message is None:
                    yield from _mourn(worker, attempts, waiting, self.log)
                elif message["event"] == "ready":
                    worker.ready = True
                else:
                    yield hear(worker.places, message)
        finally:
            for worker in workers:
                worker.stop()


def _next(
    inbox: "queue.SimpleQueue[tuple[_Worker, dict | None]]", workers: "Sequence[_Worker]"
) -> "tuple[_Worker, dict | None]":
    """What a worker says next, None for its last word; those that hang are killed meanwhile."""
    while True:
        if inbox.empty():
            for worker in workers:
                worker.kill_if_silent()
        with suppress(queue.Empty):
            worker, message = inbox.get(timeout=1)
            worker.since = time.monotonic()
            return worker, message


def hear(places: Places, message: dict) -> Event:
    """What a worker says, as an event; a task that has a result leaves its place."""
    key, said = heard(message)
    place, task = places.pop(key) if isinstance(said, Result) else places[key]
    return Event(place, task, said)


def _mourn(worker: "_Worker", attempts: Counter[str], waiting: deque[Pack], log: Path) -> Iterator[Event]:
    """A worker is dead: its tasks are tried again, or given up."""
    code, places, was_ready = worker.process.wait(), worker.places, worker.ready
    hung = f"silent for {worker.pool.patience:g} s" if worker.hung else ""
    worker.stillborn = 0 if was_ready else worker.stillborn + 1
    if worker.stillborn >= ATTEMPTS:
        raise WorkersBroken(f"workers end before they begin (exit code {code}); see {log} for what they said")
    worker.places = {}
    worker.start()
    if was_ready:
        reason = hung or (f"killed by signal {-code}" if code < 0 else f"exit code {code}; see {log}")
        yield from try_again(places, attempts, waiting, reason)
    elif places:
        waiting.appendleft(tuple(task for _, task in places.values()))


def try_again(places: Places, attempts: Counter[str], waiting: deque[Pack], reason: str) -> Iterator[Event]:
    """What to say of tasks whose worker is gone: each is waiting again, alone, or has failed for good."""
    again = []
    for place, task in places.values():
        attempts[task.key] += 1
        if attempts[task.key] < ATTEMPTS:
            again.append((task,))
            said = Step(0, 0, 0.0, note=f"the worker died ({reason}); again from its checkpoint")
        else:
            said = failure(task, f"the worker died {ATTEMPTS} times ({reason}); out of memory?", time.monotonic())
        yield Event(place, task, said)
    waiting.extendleft(reversed(again))


@dataclass
class _Worker:
    number: int
    pool: LocalPool
    inbox: "queue.SimpleQueue[tuple[_Worker, dict | None]]"
    places: Places = field(default_factory=dict)
    ready: bool = False
    stillborn: int = 0
    "Processes in a row that died before they were ready."
    since: float = 0.0
    "When it began what it does, or last said something."
    hung: bool = False
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.ready, self.hung = False, False
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

    def begin(self, pack: Pack) -> None:
        self.since = time.monotonic()
        self.places = {task.key: (self.number * self.pool.pack + index, task) for index, task in enumerate(pack)}
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps([asdict(task) for task in pack]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It has just died; the end of its output says so as well, and the tasks are tried again.
            return

    def kill_if_silent(self) -> None:
        if self.places and time.monotonic() - self.since > self.pool.patience:
            self.hung = True
            self.process.kill()

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
