"""TSM: trajectory score matching of Dreamer-XL."""

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
class TSM(AbstractGuidance):
    """`G = lambda (sigma_t / alpha_t)(eps_guided(x_t, t, y) - eps(x_mu, mu, null))`, `mu = s + ratio (t - s)`.

    Source: Miao et al., arXiv 2405.11252; method card 6.2. As ISM, but both points are one step away from the same
    `x_s`, so that their errors have more in common. `ratio` 0 is ISM, 1 leaves no interval (CSD at x_t). It stands for
    the authors' gamma, which in the paper is the ratio itself and in the code enters as `sqrt(1 - gamma^2)`. Raises
    ValueError for a ratio outside [0, 1].
    """

    ratio: float = 0.954
    "The authors' code: gamma 0.3."
    gap: Schedule = field(default_factory=lambda: Ramp(100.0, 80.0, finish=0.3))
    ladder: Ladder = field(default_factory=Ladder)
    strength: float = 0.1
    paper: ClassVar[str] = "2405.11252"

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"TSM's ratio (mu - s) / (t - s) lies between 0 (ISM) and 1; got {self.ratio}")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        path = follow(prior, view, self.ladder, self.gap)
        middle = path.s + (self.ratio * (view.t - path.s)).round().long()
        if self.ratio == 0:
            attract, reference = view.guide.predict(prior, path.at(view.t), view.t), path.noise
        else:
            attract, reference = view.guide.predict_beside(
                prior, path.at(view.t), view.t, path.at(middle), middle, view.guide.null
            )
        return self.strength * prior.schedule.ratio(view.t, attract) * (attract - reference)
