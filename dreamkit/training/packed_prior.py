"""A prior whose answers are given to several runs at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.encoding import Encoded
from dreamkit.priors.student import AbstractStudent
from dreamkit.training.calls import AbstractCall, Decode, Encode, EncodeApart, Predict, PullBack


class PackedPrior(AbstractPrior):
    """What one run of a pack sees of the prior: its calls wait until they can be joined with those of its neighbours.

    Shared are noise predictions, encodings and their way back, and decodings. Not shared, because each run has a graph
    or a network of its own there: predictions with a graph (SiD), features for discriminators, and students.
    """

    def __init__(self, prior: AbstractPrior, ask: Callable[[AbstractCall], Any]) -> None:
        """`ask` gives a call away and returns its answer."""
        self.prior, self._ask = prior, ask
        self.name, self.schedule, self.steerable = prior.name, prior.schedule, prior.steerable
        self.image_size, self.latent_shape = prior.image_size, prior.latent_shape

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def encode(
        self, images: Float[Tensor, "batch *image"], generator: Source | None = None
    ) -> Float[Tensor, "batch *latent"]:
        if _needs_graph(images):
            return self.prior.encode(images, generator)
        return self._ask(Encode(self.prior, images, generator))

    def encode_apart(self, images: Float[Tensor, "batch *image"], generator: Source | None = None) -> Encoded:
        shared, rows = self._ask(EncodeApart(self.prior, images.detach(), generator))

        def pull_back(gradient: Tensor) -> Tensor:
            return self._ask(PullBack(self.prior, shared, rows, gradient))

        images, latents = (part.detach()[rows].requires_grad_() for part in (shared.images, shared.latents))
        return Encoded(images, latents, pull_back)

    def decode(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *image"]:
        if _needs_graph(latents):
            return self.prior.decode(latents)
        return self._ask(Decode(self.prior, latents))

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        return self.prior.embed(prompts)

    def features(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        differentiable: bool = False,
    ) -> Float[Tensor, "batch features *places"]:
        return self.prior.features(noised, t, condition, differentiable)

    def student(self, rank: int = 4) -> AbstractStudent:
        return self.prior.student(rank)

    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]:
        if torch.is_grad_enabled():
            return self.prior.predict_noise(noised, t, condition, differentiable=True)
        return self._ask(Predict(self.prior, noised, t, condition))


def _needs_graph(value: Tensor) -> bool:
    return torch.is_grad_enabled() and value.requires_grad
