"""SDI: score distillation via inversion, SDS with the noise that the render itself implies."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.inversion import Ladder
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class SDI(AbstractGuidance):
    """`G = w(t) (eps_guided(x_t, y) - (x_t - alpha_t x) / sigma_t)`, `x_t` by inversion of x under the prompt.

    Source: Lukoianov et al., arXiv 2405.15891; method card 1. The inversion follows `null + inversion_scale (text -
    null)`, by default far on the other side of the null prompt. Wants levels that fall. The view's noise only lifts x
    to level 0. Does not add the authors' random share (eta 0.3) to the inverted noise. Raises ValueError for an unknown
    weighting.
    """

    weighting: str = "sds"
    inversion_scale: float = -7.5
    ladder: Ladder = field(default_factory=lambda: Ladder(stride=100, steps=10))
    paper: ClassVar[str] = "2405.15891"

    def __post_init__(self) -> None:
        check_name(self.weighting)

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        clean, guide = view.clean.detach(), view.guide

        def against_the_text(noised: Tensor, t: Tensor, rows: Tensor) -> Tensor:
            text, null = prior.predict_each(noised, t, [guide.positive[rows], guide.null[rows]])
            return null + self.inversion_scale * (text - null)

        noised = self.ladder.invert(prior.schedule, clean, view.noise, view.t, against_the_text)
        implied = prior.schedule.noise_of(noised, clean, view.t)
        attract = guide.predict(prior, noised, view.t)
        return weight(self.weighting, prior.schedule, view.t, noised) * (attract - implied)
