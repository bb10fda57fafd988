"""PGC: pixel-wise gradient clipping, a bound on what reaches each rendered pixel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.wrapper import AbstractWrapper
from dreamkit.names import check_choice
from dreamkit.priors.base import AbstractPrior

Clip = Callable[[Tensor, float], Tensor]


def _pixel(g: Float[Tensor, "*image 3"], c: float) -> Float[Tensor, "*image 3"]:
    # A pixel of zeros would be 0/0; every pixel below the bound has the factor 1.
    return g * (c / g.abs().amax(dim=-1, keepdim=True).clamp_min(c))


CLIPS: dict[str, Clip] = {
    "pixel": _pixel,
    "smooth": lambda g, c: c * g / (g.abs().amax(dim=-1, keepdim=True) + c),
    "length": lambda g, c: g * (c / g.norm(dim=-1, keepdim=True).clamp_min(c)),
    "element": lambda g, c: g.clamp(-c, c),
    "smooth_element": lambda g, c: c * g / (g.abs() + c),
    "sigmoid": lambda g, c: c * (torch.sigmoid(g) - 0.5),
}
"""How the gradient g of a pixel is bounded by c: "pixel" is `g min(1, c / max|g|)`, "smooth" `c g / (max|g| + c)`, and
"length" measures a pixel by its length; these keep its direction. The last three treat each channel alone."""


@dataclass(frozen=True)
class PGC(AbstractWrapper):
    """`dL/dI_p <- dL/dI_p min(1, c / max_channel |dL/dI_p|)` for each pixel p (Pan et al., arXiv 2310.12474; card 7).

    Takes out the noise that an encoder's gradient has at single pixels, and keeps the direction of each. Thresholds in
    papers are for G itself; here the loss is divided by the number of views, hence so is the bound: `c = loss_scale
    threshold / views`. Raises ValueError for an unknown kind, and when `masked` meets renders without opacity.
    """

    threshold: float = 0.1
    kind: str = "pixel"
    masked: bool = False
    "Multiply by the opacity first: the background gets no gradient of its own."
    loss_scale: float = 1.0
    "Factor on the loss when the gradient is seen, such as that of mixed precision."
    paper: ClassVar[str] = "2310.12474"

    def __post_init__(self) -> None:
        check_choice("kind of clipping", self.kind, list(CLIPS))
        if not (self.threshold > 0 and self.loss_scale > 0):
            raise ValueError(f"threshold and loss_scale are positive; got {self.threshold} and {self.loss_scale}")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        return self.inner.residual(prior, view, state)

    def on_image_gradient(
        self,
        gradient: Float[Tensor, "batch height width channels"],
        alpha: Float[Tensor, "batch height width 1"] | None = None,
    ) -> Float[Tensor, "batch height width channels"]:
        gradient = self.inner.on_image_gradient(gradient, alpha)
        if self.masked and alpha is None:
            raise ValueError("masked clipping needs the opacity of the renders; pass alpha, or set masked = false")
        masked = gradient * alpha if self.masked and alpha is not None else gradient
        return CLIPS[self.kind](masked, self.loss_scale * self.threshold / len(gradient))
