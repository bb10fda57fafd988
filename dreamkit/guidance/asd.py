"""ASD: the asynchronous score distillation of ScaleDreamer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.draws import uniform
from dreamkit.schedules import Schedule, value_at


@dataclass(frozen=True)
class ASD(AbstractGuidance):
    """`G = w(t) (eps_guided(x_t, t, y) - eps(x_t', t', y))`, the same eps in both, `t' >= t`.

    Source: Ma et al., arXiv 2407.02040 and its code; method card 4. The frozen prior, asked at a noisier level, stands
    in for VSD's student: `t' = t + floor(u shift (t - lowest))`, below 1000, with u uniform in [0, 1) for each view (or
    1). Without a shift this is CSD with the scale s - 1. Raises ValueError for an unknown weighting and a negative
    shift.
    """

    weighting: str = "sds"
    shift: float = 0.1
    "The paper's eta: how far, as a share of the way down to the lowest level."
    random: bool = True
    lowest: Schedule = 0.02
    "As `low` in [levels]: a share of 1000, where the shift is zero."
    paper: ClassVar[str] = "2407.02040"

    def __post_init__(self) -> None:
        check_name(self.weighting)
        if self.shift < 0:
            raise ValueError(f"ASD asks at a noisier level: shift must be at least 0; got {self.shift}")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        later = self.shifted(view)
        noisier = prior.schedule.add_noise(view.clean.detach(), view.noise, later)
        attract, reference = view.guide.predict_beside(prior, view.noised, view.t, noisier, later, view.guide.positive)
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - reference)

    def shifted(self, view: NoisyView) -> Int[Tensor, " batch"]:
        """t'; the views of a group share their draw, as they share t."""
        above = view.t - 1000 * value_at(self.lowest, view.progress)
        # In float64: 0.1 times a hundred levels must floor to ten, and in float32 products it may not.
        delta = (self.shift * above.double()).minimum(999.0 - view.t).clamp_min(0)
        if self.random:
            delta = delta * uniform(len(view.t), view.source, view.cameras.group).to(delta)
        return (view.t + torch.floor(delta + 1e-9).long()).clamp(1, 999)
