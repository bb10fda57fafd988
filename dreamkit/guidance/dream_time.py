"""DreamTime: levels that fall, most slowly where most is decided."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.guidance.levels import AbstractLevels, level_of
from dreamkit.priors.draws import Source


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
        return torch.full((batch,), level_of(self.low) + int((tail - progress).abs().argmin()))

    def density(self) -> Float[Tensor, " levels"]:
        """p over the working range, in float64; sums to one."""
        t = torch.arange(round(self.low * 1000), round(self.high * 1000), dtype=torch.float64)
        below, above = (self.flat_from - t).clamp_min(0), (t - self.flat_to).clamp_min(0)
        p = torch.exp(-0.5 * ((below / self.spread_low) ** 2 + (above / self.spread_high) ** 2))
        return p / p.sum()
