"""DDS: delta denoising score, an edit that leaves alone what both prompts agree on."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.pairs import predict_pair
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class DDS(AbstractGuidance):
    """`G = M w(t) (eps_guided(x_t, y) - eps_guided(x_t_src, y_src)) + (k_out (1 - M) + k_in M)(x - x_src)`.

    Source: Hertz et al., arXiv 2304.07090; method card 5.1. Both predictions share t and eps, so that what
    is noise in SDS cancels. M is the original's mask, everywhere 1 without one; the second term, ED-NeRF's preservation
    (card 5.2), is the gradient of `k |x - x_src|^2 / 2`. Raises ValueError for an unknown weighting, and for a view
    without an original.
    """

    weighting: str = "uniform"
    keep_outside: float = 0.0
    keep_inside: float = 0.0
    paper: ClassVar[str] = "2304.07090"

    def __post_init__(self) -> None:
        check_name(self.weighting)

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        pair = predict_pair(prior, view, "DDS")
        pull = weight(self.weighting, prior.schedule, view.t, view.noised) * (pair.edited - pair.original)
        keep = self.keep_outside * (1 - pair.mask) + self.keep_inside * pair.mask
        return pair.mask * pull + keep * pair.moved
