"""HiFA: the prior's clean estimate as a target, in latents and in pixels."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class HiFA(AbstractGuidance):
    """`L = w(t) (alpha_t / sigma_t) [|x - x0|^2 + image_weight |I - decode(x0)|^2] / 2`, x0 a constant.

    Source: Zhu et al., arXiv 2305.18766; method card 1. x0 is the clean estimate that the guided noise stands for. The
    first term alone is SDS with the weight w; the second pulls at the render I directly, not through the encoder, and
    is counted at the render's own size. The paper's recipe also has levels that fall by a square root (`[levels] type =
    "sqrt_anneal"`) and the variance of depth along rays (`training.regularization.z_variance`). Raises ValueError for
    an unknown weighting, a negative weight, and where the view comes without its renders.
    """

    image_weight: float = 0.01
    weighting: str = "ism"
    "w; the default makes the factor in front 1."
    paper: ClassVar[str] = "2305.18766"

    def __post_init__(self) -> None:
        check_name(self.weighting)
        if self.image_weight < 0:
            raise ValueError(f"the weight of the image loss is not negative; got {self.image_weight}")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        noise = view.guide.predict(prior, view.noised, view.t)
        estimate = prior.schedule.denoise(view.noised, noise, view.t)
        return self._factor(prior, view) * (view.clean.detach() - estimate)

    def image_residual(
        self, prior: AbstractPrior, view: NoisyView, residual: Float[Tensor, "batch *latent"]
    ) -> Float[Tensor, "batch *image"] | None:
        if self.image_weight == 0:
            return None
        if view.images is None:
            raise ValueError("HiFA's image loss needs the renders: noisy_view(..., images=rendering.color)")
        factor, images = self._factor(prior, view), view.images.detach()
        target = _resized(prior.decode(view.clean.detach() - residual / factor), images)
        return self.image_weight * factor.view(-1, *[1] * (images.ndim - 1)) * (images - target)

    def _factor(self, prior: AbstractPrior, view: NoisyView) -> Float[Tensor, "batch *ones"]:
        ratio = prior.schedule.ratio(view.t, view.noised)
        return weight(self.weighting, prior.schedule, view.t, view.noised) / ratio


def _resized(images: Float[Tensor, "batch *image"], like: Float[Tensor, "batch *size"]) -> Float[Tensor, "batch *size"]:
    if images.shape == like.shape:
        return images
    size = like.shape[1:3]
    return functional.interpolate(images.movedim(-1, 1), size, mode="bilinear", antialias=True).movedim(1, -1)
