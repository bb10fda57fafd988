"""Renders and their latents, cut out of the graph, so that the way back is a call like any other."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Images that a prior has encoded: two leaves of the graph, and how a gradient gets from one to the other.

    Autograd would pass through the encoder in the middle of a scene's own backward pass, where scenes cannot wait for
    each other. Here the encoder's share of the chain rule stands by itself, and a batch of scenes takes it in one go.
    """

    images: Float[Tensor, "batch *image"]
    "The renders, without the graph that leads back to the scene."
    latents: Float[Tensor, "batch *latent"]
    pull_back: Callable[[Tensor], Tensor]
    "From dL/dx at the latents to dL/dI at the images, `J^T g`; can be asked once."

    def image_gradient(self, loss: Float[Tensor, ""]) -> Float[Tensor, "batch *image"]:
        """dL/dI for a loss of the latents and the images: `J^T dL/dx + dL/dI` with x held still."""
        at_latents, at_images = torch.autograd.grad(loss, (self.latents, self.images), materialize_grads=True)
        return self.pull_back(at_latents) + at_images
