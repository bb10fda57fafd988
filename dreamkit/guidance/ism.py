"""ISM: interval score matching of LucidDreamer."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.inversion import Ladder
from dreamkit.guidance.trajectory import follow
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.schedules import Ramp, Schedule


@dataclass(frozen=True)
class ISM(AbstractGuidance):
    """`G = lambda (sigma_t / alpha_t)(eps_guided(x_t, t, y) - eps(x_s, s, null))`, `s = max(t - gap, 0)`.

    Source: Liang et al., arXiv 2311.11284; method card 6.1. `x_s` comes from DDIM inversion with the empty prompt and
    `x_t` from one step more: two neighbouring points of one deterministic trajectory, instead of noise and an answer to
    it. The view's noise only lifts x to the ladder's first level. The authors' strides of 200 are far from the exact
    trajectory, so results depend on them. Does not do the authors' reversed guidance during the inversion.
    """

    gap: Schedule = field(default_factory=lambda: Ramp(100.0, 80.0, finish=0.3))
    "Levels between s and t."
    ladder: Ladder = field(default_factory=Ladder)
    strength: float = 0.1
    "lambda."
    paper: ClassVar[str] = "2311.11284"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        trajectory = follow(prior, view, self.ladder, self.gap)
        attract = view.guide.predict(prior, trajectory.at(view.t), view.t)
        return self.strength * prior.schedule.ratio(view.t, attract) * (attract - trajectory.noise)
