"""Several runs at once that take turns, and meet where they ask their prior."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from dreamkit.priors.base import AbstractPrior
from dreamkit.training.calls import AbstractCall
from dreamkit.training.packed_prior import PackedPrior

Said = TypeVar("Said")
Share = Callable[[AbstractPrior], AbstractPrior]
"What a run passes its prior through, so that its calls are shared."


def together(jobs: Sequence[Callable[[Share], Generator[Said]]]) -> Generator[tuple[int, Said]]:
    """Carry out jobs that share a prior; yields the index of a job and what it said.

    A job is a function of `share`, which makes a `PackedPrior` of the prior that the job would have used alone. Each
    job runs as far as its next call of the prior. When all have arrived, the calls that are alike become one call, in
    the order of the jobs, and its rows are handed back. Only one job runs at a time: neither threads nor the clock have
    a say in the results, which are those of the jobs alone but for the rounding of larger batches.

    A job that ends, early or late, leaves the others to themselves. An exception of a job closes the others, as does
    closing the iterator, and comes out; one of a shared call is raised in every job that took part in it.
    """
    runners = [_Runner(job) for job in jobs]
    ready = list(runners)
    try:
        while ready:
            for runner in ready:
                for said in runner.until_it_asks():
                    yield runners.index(runner), said
            ready = _answered([runner for runner in runners if runner.call is not None])
    finally:
        for runner in runners:
            runner.stop()


def _answered(waiting: "list[_Runner]") -> "list[_Runner]":
    """Ask what has the next turn; returns those whose call was answered, in their order."""
    calls = [runner.call for runner in waiting if runner.call is not None]
    turn = min((call.turn for call in calls), default=0)
    served = [runner for runner, call in zip(waiting, calls, strict=True) if call.turn == turn]
    groups: dict[Any, list[_Runner]] = {}
    for runner in served:
        assert runner.call is not None
        groups.setdefault(runner.call.alike, []).append(runner)
    for group in groups.values():
        _ask_once(group)
    return served


def _ask_once(group: "list[_Runner]") -> None:
    calls = [runner.call for runner in group if runner.call is not None]
    try:
        answers = type(calls[0]).ask(calls)
    except Exception as error:
        # Not ours to judge: each job says what such an error means to it.
        answers = [error] * len(group)
    for runner, answer in zip(group, answers, strict=True):
        runner.call, runner.answer = None, answer


class _Stopped(BaseException):
    """Unwinds a job that nobody wants to go on."""


class _Runner:
    """A job in a thread of its own, which runs only while `until_it_asks` waits for it.

    A thread because calls of the prior lie deep in a guidance, and because what torch remembers for each thread
    (whether it records a graph) then stays each job's own.
    """

    def __init__(self, job: Callable[[Share], Generator[Any]]) -> None:
        self.call: AbstractCall | None = None
        "What it waits for."
        self.answer: Any = None
        "What its last call came to; an exception is raised there."
        self._job, self._said, self._error = job, [], None
        self._ended, self._stopped = False, False
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def until_it_asks(self) -> Generator[Any]:
        """Let it run until it asks something or ends, and hear what it says; raises what it raises."""
        while not self._ended and self.call is None:
            self._mine.release()
            self._theirs.acquire()
            if self._error is not None:
                raise self._error
            yield from self._said
            self._said.clear()

    def stop(self) -> None:
        """End it where it is; returns when it has."""
        self._stopped = True
        self._mine.release()
        self._thread.join()

    def _run(self) -> None:
        self._mine.acquire()
        try:
            if self._stopped:
                return
            with closing(self._job(self._shared)) as saying:
                for said in saying:
                    self._said.append(said)
                    self._wait()
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._ended = True
            self._theirs.release()

    def _shared(self, prior: AbstractPrior) -> AbstractPrior:
        return PackedPrior(prior, self._ask)

    def _ask(self, call: AbstractCall) -> Any:
        self.call = call
        self._wait()
        answer, self.answer = self.answer, None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _wait(self) -> None:
        """Give the turn back until it comes again."""
        if not self._stopped:
            self._theirs.release()
            self._mine.acquire()
        if self._stopped:
            raise _Stopped
