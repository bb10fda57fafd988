"""What guidances know of an image model: latents, noise levels, conditions, and a noise prediction."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.encoding import Encoded
from dreamkit.priors.schedule import NoiseSchedule
from dreamkit.priors.student import AbstractStudent


class AbstractPrior(ABC):
    """A frozen image model, seen as a predictor of the noise in `x_t = alpha_t x_0 + sigma_t eps`.

    Whatever the network predicts (eps, v, x_0), `predict_noise` returns eps; levels run 0..999, 0 nearly clean.
    """

    name: str
    "Hub id, folder or formula: what to write into a report."
    schedule: NoiseSchedule
    image_size: int
    "Side of the square images that the model was trained on, in pixels."
    latent_shape: tuple[int, ...]
    "Shape of one latent."
    steerable: bool = False
    "Whether its text comes in by cross-attention, which a condition may steer away from other text."

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @abstractmethod
    def encode(
        self, images: Float[Tensor, "batch *image"], generator: Source | None = None
    ) -> Float[Tensor, "batch *latent"]:
        """Latents of display images in [0, 1], with gradient; `generator` serves models whose encoder is random."""

    def encode_apart(self, images: Float[Tensor, "batch *image"], generator: Source | None = None) -> Encoded:
        """Encode with the graph cut at both ends: what comes back knows the way from the latents to the images."""
        seen = images.detach().requires_grad_()
        latents = self.encode(seen, generator)

        def pull_back(gradient: Tensor) -> Tensor:
            return torch.autograd.grad(latents, seen, gradient)[0]

        return Encoded(seen, latents.detach().requires_grad_(), pull_back)

    @abstractmethod
    def decode(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *image"]:
        """Display images of latents; may leave [0, 1] a little."""

    @abstractmethod
    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """One row for each prompt; the empty prompt means "unconditional"."""

    def predict_noise(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        differentiable: bool = False,
    ) -> Float[Tensor, "batch *latent"]:
        """The model's eps for noised latents at levels `t`; without a graph unless `differentiable`."""
        if not len(noised) == len(t) == len(condition):
            raise ValueError(
                f"one level and one condition for each latent: got {len(noised)} latents, {len(t)} levels, "
                f"{len(condition)} conditions"
            )
        if condition.against is not None and not self.steerable:
            raise TypeError(
                f"the prior {self.name!r} ({type(self).__name__}) has no cross-attention that could be steered away "
                "from a prompt; negative-away attention needs a prior of the type latent_diffusion. Choose another "
                "shaping: cfg with a negative prompt, or perp_neg"
            )
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            return self._predict(noised, t, condition)

    def predict_each(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        conditions: Sequence[Conditioning],
        differentiable: bool = False,
    ) -> Float[Tensor, "conditions batch *latent"]:
        """The eps of the same noised latents under each of several conditions, in one call.

        Rows go in as one block for each condition, in the order of the views, so that groups of views stay together.
        """
        blocks = len(conditions)
        stacked = noised.repeat(blocks, *[1] * (noised.ndim - 1))
        answer = self.predict_noise(stacked, t.repeat(blocks), Conditioning.cat(conditions), differentiable)
        return answer.view(blocks, *noised.shape)

    def features(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        differentiable: bool = False,
    ) -> Float[Tensor, "batch features *places"]:
        """What the model makes of noised latents, for a discriminator to read; without a graph unless `differentiable`.

        Here `x_t` and eps, side by side; models with a UNet give what its middle says.
        """
        return torch.cat([noised, self.predict_noise(noised, t, condition, differentiable)], dim=1)

    def student(self, rank: int = 4) -> AbstractStudent:
        """A fresh student, which begins as this prior or close to it; `rank` is the size of low-rank changes.

        Raises TypeError where the prior has none.
        """
        raise TypeError(
            f"the prior {self.name!r} ({type(self).__name__}) has no student to learn a reference with; choose a "
            "method that learns none (sds, asd, csd, ism, ...), or a prior of the type latent_diffusion, flow or pixel"
        )

    @abstractmethod
    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]: ...
