"""A student in the place of its prior, so that it can be guided by the text as the prior is."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.student import AbstractStudent


class StudentPrior(AbstractPrior):
    """A student that looks at a batch of views, seen as a prior, so that it can be guided as one."""

    def __init__(
        self, prior: AbstractPrior, student: AbstractStudent, camera: Float[Tensor, "views 16"], strength: float = 1.0
    ) -> None:
        """`strength`: share of what was learnt."""
        self.prior, self.learnt, self.camera, self.strength = prior, student, camera, strength
        self.name, self.schedule = f"student of {prior.name}", student.schedule
        self.image_size, self.latent_shape = prior.image_size, prior.latent_shape
        self.steerable = prior.steerable

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def encode(
        self, images: Float[Tensor, "batch *image"], generator: Source | None = None
    ) -> Float[Tensor, "batch *latent"]:
        return self.prior.encode(images, generator)

    def decode(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *image"]:
        return self.prior.decode(latents)

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        return self.prior.embed(prompts)

    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]:
        # Several conditions come as one block of views after the other.
        camera = self.camera.repeat(len(noised) // len(self.camera), 1)
        return self.learnt.predict_noise(noised, t, condition, camera, self.strength, torch.is_grad_enabled())
