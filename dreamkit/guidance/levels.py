"""Which noise levels a run visits, and when (method card 14.1). Levels are 0..999, limits are shares of 1000."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dreamkit.priors.draws import Source, uniform
from dreamkit.schedules import Ramp, Schedule, value_at


class AbstractLevels(ABC):
    """A schedule of noise levels."""

    @abstractmethod
    def draw(self, progress: float, batch: int, generator: Source, group: int = 1) -> Int[Tensor, " batch"]:
        """Levels of `batch` views when the share `progress` of the run is done; views of a group share theirs."""


@dataclass(frozen=True)
class Window(AbstractLevels):
    """Uniform between two limits, both included, which may move: `t ~ U{1000 low .. 1000 high}`."""

    low: Schedule = 0.02
    high: Schedule = 0.98

    def draw(self, progress: float, batch: int, generator: Source, group: int = 1) -> Int[Tensor, " batch"]:
        low, high = (level_of(value_at(limit, progress)) for limit in (self.low, self.high))
        if low > high:
            raise ValueError(f"the lowest level is above the highest at progress {progress:.3f}: {low} > {high}")
        return low + (uniform(batch, generator, group) * (high - low + 1)).long()


def two_stage(at: float = 0.2, low: float = 0.02, high: float = 0.98, then_high: float = 0.5) -> Window:
    """`U(low, high)`, and `U(low, then_high)` from the share `at` of the run on (arXiv 2305.16213)."""
    return Window(low, Ramp(high, then_high, at, at))


def linear_window(low: tuple[float, float] = (0.5, 0.02), high: tuple[float, float] = (0.98, 0.5)) -> Window:
    """Both limits move on straight lines from their first to their second value (ASD's recipe)."""
    return Window(Ramp(*low), Ramp(*high))


@dataclass(frozen=True)
class SqrtAnneal(AbstractLevels):
    """`t = high - (high - low) sqrt(progress)`, the same for all views; draws nothing (HiFA, arXiv 2305.18766)."""

    low: float = 0.3
    high: float = 0.98

    def draw(self, progress: float, batch: int, generator: Source, group: int = 1) -> Int[Tensor, " batch"]:
        return torch.full((batch,), level_of(Ramp(self.high, self.low, shape="sqrt")(progress)))


def level_of(share: float) -> int:
    """The level that a share of 1000 is."""
    return min(max(round(share * 1000), 0), 999)
