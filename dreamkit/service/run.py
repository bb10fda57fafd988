"""One run on the server: what it is doing, for any number of pages that look."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dreamkit.rendering import Step
from dreamkit.service.pictures import Picture, preview_pictures

_LOG = logging.getLogger(__name__)


class State(StrEnum):
    """What has become of a run."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"

    @property
    def is_live(self) -> bool:
        """Whether anything will still change."""
        return self in (State.WAITING, State.RUNNING, State.STOPPING)


@dataclass(frozen=True)
class Snapshot:
    """A run as it stands; never changes, so that a page can read it at leisure."""

    name: str
    "Name of its folder."
    title: str
    state: State
    stage: str = ""
    index: int = 0
    total: int = 0
    losses: tuple[float, ...] = ()
    "Of each optimisation step; NaN where a step was taken back."
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    error: str = ""
    seconds_left: float | None = None
    "Of the optimisation; None while that cannot be told."
    ahead: int = 0
    "Runs that come first."
    begins_again: bool = False
    "Whether it keeps nothing on the way, so that one that was stopped starts from its beginning."
    version: int = 0
    "Grows with every change."


@dataclass
class Pace:
    """How fast the optimisation goes, from its own first step on: loading does not count."""

    _first: tuple[float, int] | None = None

    def left(self, step: Step, now: float) -> float | None:
        """Seconds until the last step, `(total - index) (now - first) / (index - first index)`."""
        if self._first is None:
            self._first = (now, step.index)
        since, index = self._first
        done = step.index - index
        return (step.total - step.index) * (now - since) / done if done > 0 else None


@dataclass(eq=False)
class Run:
    """Work that waits, runs and ends, and what is known of it. One thread works; any thread looks or stops it."""

    name: str
    title: str
    work: Callable[[], Iterator[Step]]
    begins_again: bool = False
    _snapshot: Snapshot = field(init=False)
    _losses: list[float] = field(default_factory=list)
    _pace: Pace = field(default_factory=Pace)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._snapshot = Snapshot(self.name, self.title, State.WAITING, begins_again=self.begins_again)

    def snapshot(self) -> Snapshot:
        """The run as it stands now."""
        with self._lock:
            return replace(self._snapshot, losses=tuple(self._losses))

    def stop(self) -> None:
        """Ask the run to end: at once where it waits, after the step that it is taking where it runs."""
        self._stop.set()
        with self._lock:
            if self._snapshot.state is State.WAITING:
                self._change(state=State.STOPPED)
            elif self._snapshot.state is State.RUNNING:
                self._change(state=State.STOPPING)

    def carry_out(self) -> None:
        """Take all steps, until the last or until `stop`. Errors end the run, never the thread."""
        with self._lock:
            if self._snapshot.state is not State.WAITING:
                return
            self._change(state=State.RUNNING, stage="load the prior")
        try:
            state, error = self._take_all(), ""
        except (ValueError, ArithmeticError, OSError) as problem:
            state, error = State.FAILED, str(problem)
        except Exception as problem:
            # The thread serves all visitors, so it outlives whatever happens to one run; the log gets the traceback.
            _LOG.exception("run %s", self.name)
            state, error = State.FAILED, f"unexpected: {type(problem).__name__}: {problem}"
        with self._lock:
            self._change(state=state, error=error, seconds_left=None)

    def _take_all(self) -> State:
        steps = self.work()
        for step in steps:
            if self._stop.is_set():
                # Closing a generator runs its `finally` blocks now, not when somebody collects it.
                getattr(steps, "close", lambda: None)()
                return State.STOPPED
            self._take(step)
        return State.DONE

    def _take(self, step: Step) -> None:
        pictures = preview_pictures(step.preview) if step.preview is not None else ()
        optimising = step.stage in ("coarse", "optimise")
        if step.stage != self._snapshot.stage:
            self._pace = Pace()
        left = self._pace.left(step, time.monotonic()) if optimising else None
        with self._lock:
            if optimising:
                self._losses.append(step.loss if math.isfinite(step.loss) else math.nan)
            self._change(
                stage=step.stage,
                index=step.index,
                total=step.total,
                pictures=pictures or self._snapshot.pictures,
                note=step.note or "",
                seconds_left=left,
            )

    def _change(self, **values: object) -> None:
        self._snapshot = replace(self._snapshot, version=self._snapshot.version + 1, **values)
