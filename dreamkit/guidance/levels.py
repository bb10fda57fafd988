"""Which noise levels a run visits, and when (method card 14.1). Levels are 0..999, limits are shares of 1000."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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
        low, high = (_level(value_at(limit, progress)) for limit in (self.low, self.high))
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
        return torch.full((batch,), _level(Ramp(self.high, self.low, shape="sqrt")(progress)))


@dataclass(frozen=True)
class DreamTime(AbstractLevels):
    """Levels fall so that the time spent at each is proportional to a density p (arXiv 2306.12422).

    `t(progress) = argmin_t |sum_{u >= t} p(u) - progress|`, with p flat between `flat_from` and `flat_to` and Gaussian
    flanks of widths `spread_low`, `spread_high` outside. The same for all views; draws nothing.
    """

    low: float = 0.2
    high: float = 0.8
    "Working range: 1000 low <= t < 1000 high."
    flat_from: float = 500.0
    flat_to: float = 800.0
    spread_low: float = 100.0
    spread_high: float = 300.0

    def draw(self, progress: float, batch: int, generator: Source, group: int = 1) -> Int[Tensor, " batch"]:
        tail = self.density().flip(0).cumsum(0).flip(0)
        return torch.full((batch,), _level(self.low) + int((tail - progress).abs().argmin()))

    def density(self) -> Float[Tensor, " levels"]:
        """p over the working range, in float64; sums to one."""
        t = torch.arange(round(self.low * 1000), round(self.high * 1000), dtype=torch.float64)
        below, above = (self.flat_from - t).clamp_min(0), (t - self.flat_to).clamp_min(0)
        p = torch.exp(-0.5 * ((below / self.spread_low) ** 2 + (above / self.spread_high) ** 2))
        return p / p.sum()


def _level(share: float) -> int:
    return min(max(round(share * 1000), 0), 999)
