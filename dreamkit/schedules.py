"""Numbers that change over a run: constants, ramps and steps.

Every weight, rate and limit in a recipe may be a plain number or one of these.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """From `start` to `end` between two points of the run, constant outside.

    `begin` and `finish` are shares of the run in [0, 1]; `shape` is "linear", "sqrt" (fast first), "cosine" or
    "exponential" (a straight line in the logarithm).
    """

    start: float
    end: float
    begin: float = 0.0
    finish: float = 1.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.finish <= 1:
            raise ValueError(f"a ramp needs 0 <= begin <= finish <= 1; got begin={self.begin}, finish={self.finish}")
        if self.shape not in _SHAPES:
            raise ValueError(f"unknown ramp shape {self.shape!r}; known: {', '.join(_SHAPES)}")
        if self.shape == "exponential" and not (self.start > 0 and self.end > 0):
            raise ValueError(f"an exponential ramp needs positive ends; got {self.start} and {self.end}")

    def __call__(self, progress: float) -> float:
        """The value at `progress`, the share of the run that is done."""
        span = self.finish - self.begin
        share = (progress - self.begin) / span if span > 0 else float(progress >= self.finish)
        return _SHAPES[self.shape](self.start, self.end, min(max(share, 0.0), 1.0))


_SHAPES = {
    "linear": lambda a, b, u: a + (b - a) * u,
    "sqrt": lambda a, b, u: a + (b - a) * math.sqrt(u),
    "cosine": lambda a, b, u: b + (a - b) * 0.5 * (1 + math.cos(math.pi * u)),
    "exponential": lambda a, b, u: a * (b / a) ** u,
}

Schedule = float | Ramp
"A number, or a number that changes with progress."


def value_at(schedule: Schedule, progress: float) -> float:
    """The schedule's value when the share `progress` in [0, 1] of the run is done."""
    return schedule(progress) if isinstance(schedule, Ramp) else float(schedule)


def from_breakpoints(points: Sequence[float], total: int) -> Schedule:
    """Read the notation `[s0, v0, v1, s1]` (three numbers: s0 = 0): v0 before step s0, v1 after s1, linear between.

    Steps count optimisation steps of a run of `total`. Source: method card 0.6 (threestudio's `C`).
    """
    if len(points) == 3:
        points = (0, *points)
    if len(points) != 4:
        raise ValueError(f"a breakpoint schedule is [s0, v0, v1, s1] or [v0, v1, s1]; got {list(points)}")
    begin, start, end, finish = points
    return Ramp(start, end, min(begin / total, 1.0), min(finish / total, 1.0))


@dataclass(frozen=True)
class Milestones:
    """Image sizes and batch sizes that change as the run proceeds (method card 14.4).

    Entry i holds from `starts[i]` on, a share of the run; the first start is 0.
    """

    starts: tuple[float, ...] = (0.0,)
    sizes: tuple[int, ...] = (64,)
    "Height and width of the rendered images."
    views: tuple[int, ...] = (2,)
    "Views rendered in one step."

    def __post_init__(self) -> None:
        if not self.starts or self.starts[0] != 0 or list(self.starts) != sorted(self.starts):
            raise ValueError(f"milestones start at 0 and grow; got starts={list(self.starts)}")
        if not len(self.starts) == len(self.sizes) == len(self.views):
            raise ValueError(
                f"milestones need one size and one number of views for each start; got {len(self.starts)} starts, "
                f"{len(self.sizes)} sizes, {len(self.views)} views"
            )
        if min(*self.sizes, *self.views) < 1:
            raise ValueError(f"milestones need sizes and views >= 1; got {list(self.sizes)} and {list(self.views)}")

    def at(self, progress: float) -> tuple[int, int]:
        """(image size, views) at `progress`; a milestone's own step already uses its new entry."""
        index = bisect.bisect_right(self.starts, progress) - 1
        return self.sizes[max(index, 0)], self.views[max(index, 0)]
