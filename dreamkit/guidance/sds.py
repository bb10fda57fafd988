"""SDS: the score distillation sampling of DreamFusion."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class SDS(AbstractGuidance):
    """`G = w(t) (eps_guided(x_t, t, y) - eps)` (Poole et al., arXiv 2209.14988, equation 3; method card 1).

    Two other methods are weightings of it. With "uniform" it is SJC with variance reduction (arXiv 2212.00774): at
    `sigma = sigma_t / alpha_t` and with the denoiser's D, `-(D - x) / sigma = eps_guided - eps`. With "ism" it is the
    reconstruction form of MVDream (arXiv 2308.16512), `x - x0_guided = (sigma_t / alpha_t)(eps_guided - eps)`.
    Seeks a mode: on a Gaussian prior it ends at the mean, whatever the variance.
    """

    weighting: str = "sds"
    paper: ClassVar[str] = "2209.14988"

    def __post_init__(self) -> None:
        check_name(self.weighting)

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        attract = view.guide.predict(prior, view.noised, view.t)
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - view.noise)
