"""How a residual becomes a gradient: one evaluation of a guidance, wrapped as a loss."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class Distillation:
    """One evaluation of a guidance."""

    loss: Float[Tensor, ""]
    "Surrogate whose gradient is `G / batch` at the clean latents; its value is `|G|^2 / (2 batch)`, no objective."
    residual: Float[Tensor, "batch *latent"]
    "G, detached."
    nonfinite: Int[Tensor, " batch"]
    "How many elements of each view's G are NaN or infinite. Where any is, the loss is not finite either."

    @property
    def norm(self) -> Float[Tensor, " batch"]:
        """Length of each view's G: a thing to log."""
        return self.residual.flatten(1).norm(dim=1)


def distill(
    guidance: AbstractGuidance, prior: AbstractPrior, view: NoisyView, state: nn.Module | None = None
) -> Distillation:
    """Evaluate a guidance and wrap G as a loss: `L = sum (x - sg(x - G))^2 / (2 B)`, hence `dL/dx = G / B`.

    B is the number of views. The division makes rates and clipping thresholds B times weaker than in code that injects
    G itself (method card 0.4). A G that is not finite is counted and kept: what to do about it is the loop's decision.
    """
    with torch.no_grad():
        residual = guidance.residual(prior, view, state)
        pixels = guidance.image_residual(prior, view, residual)
    loss, nonfinite = _surrogate(view.clean, residual), _nonfinite(residual)
    if pixels is not None and view.images is not None:
        loss, nonfinite = loss + _surrogate(view.images, pixels), nonfinite + _nonfinite(pixels)
    return Distillation(loss, residual, nonfinite)


def _surrogate(at: Float[Tensor, "batch *any"], residual: Float[Tensor, "batch *any"]) -> Float[Tensor, ""]:
    target = (at - residual).detach()
    return 0.5 * (at - target).square().sum() / len(residual)


def _nonfinite(residual: Float[Tensor, "batch *any"]) -> Int[Tensor, " batch"]:
    return (~residual.isfinite()).flatten(1).sum(dim=1)
