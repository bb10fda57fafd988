"""What the methods with a density ratio learn and remember: the state that they are passed."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.priors.student import AbstractStudent

BANDS = 10
"Of levels, each with a mean ratio of its own."


class Remembering(nn.Module):
    """A student, the last ratios and weights that were given out, and what else the ratio has learnt."""

    recent: Tensor
    ratios: Tensor

    def __init__(self, student: AbstractStudent, window: int, like: Tensor, head: nn.Module | None = None) -> None:
        super().__init__()
        self.student, self.head = student, head
        empty = torch.full((BANDS * window, 2), float("nan"), device=like.device, dtype=torch.float64)
        self.register_buffer("recent", empty[:window, 0].clone())
        self.register_buffer("ratios", empty)

    def centred(self, log_ratio: Float[Tensor, " batch"], t: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """`log r` without a constant that it has at each level: `E_q[p / q] = 1`, so r is divided by its mean.

        The mean runs over the last ratios of the same tenth of the levels, these included.
        """
        band = (t * BANDS // 1000).to(self.ratios)
        fresh = torch.stack([band, log_ratio.to(self.ratios)], dim=1)
        every, constant = torch.cat([self.ratios, fresh]), torch.zeros_like(band)
        # Band by band: all views against all that is remembered would be a large table.
        for each in band.unique():
            past = every[every[:, 0] == each, 1]
            constant[band == each] = past.logsumexp(dim=0) - math.log(len(past))
        self.ratios = every[-len(self.ratios) :]
        return log_ratio - constant.to(log_ratio)

    def normalize(self, weights: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The weights over the mean of the last ones, theirs included."""
        self.recent = torch.cat([self.recent, weights.double()])[-len(self.recent) :]
        return weights / self.recent.nanmean().to(weights)
