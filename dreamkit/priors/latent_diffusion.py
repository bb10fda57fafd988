"""Stable Diffusion 1.x, 2.x and SDXL, and everything else in their layout: a VAE, a UNet and text encoders."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors import schedule as noise_schedules
from dreamkit.priors.autoencoder import Autoencoder
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.prediction import check_kind
from dreamkit.priors.pretrained import AbstractPretrained, load_frozen
from dreamkit.priors.steered_attention import steering_arguments
from dreamkit.priors.text import PARTS, encode_prompts
from dreamkit.priors.tileable import make_tileable


class LatentDiffusion(AbstractPretrained):
    """A latent diffusion model by hub id, alias or local folder, loaded with diffusers; eps- and v-prediction.

    Latents are those of `Autoencoder`. They are float32 whatever the networks compute in. All weights are frozen; the
    gradient flows through `encode`, and through `predict_noise` only where it is asked to. Text encoders live only
    while new prompts are embedded. A model folder with a `vocabulary.json` refuses prompts with other words.

    Does not do inpainting, depth or refiner models, nor the micro-conditions of crops.
    """

    steerable = True

    def __init__(
        self,
        model: str = "toybox",
        *,
        revision: str | None = None,
        device: torch.device | str = "cpu",
        dtype: str = "float32",
        image_size: int | None = None,
        sample_posterior: bool = True,
        cache_embeddings: bool = True,
        attention_slicing: bool = False,
        offload: bool = False,
        compile_unet: bool = False,
        tileable: bool = False,
    ) -> None:
        """Load the UNet and the VAE.

        `image_size`: side of the images that the prior looks at, in pixels; without it, what the model was trained on.
        `sample_posterior`: False encodes to the posterior's mean. `attention_slicing`: less memory, slower.
        `offload`: the UNet waits in main memory and visits the GPU block by block (CUDA only). `compile_unet`:
        `torch.compile`, which pays after a few hundred steps. `tileable`: pictures continue at the opposite edge.

        Raises PriorNotFound, UnsafeWeights, and ValueError for models and options that do not fit.
        """
        super().__init__(model, "latent_diffusion", revision=revision, device=device, dtype=dtype)
        # Lazily: diffusers takes seconds to import.
        from diffusers import UNet2DConditionModel

        if cache_embeddings:
            self._open_cache(PARTS)
        config = self._config("scheduler/scheduler_config.json")
        self.schedule = noise_schedules.from_config(config)
        self._kind = check_kind(config.get("prediction_type", "epsilon"))
        self.unet: UNet2DConditionModel = load_frozen(UNet2DConditionModel, self.folder, "unet", self.dtype, self._half)
        self.autoencoder = Autoencoder(self.folder, self._device, self.dtype, sample_posterior)
        self.vae = self.autoencoder.network
        if tileable:
            make_tileable(self.unet)
            make_tileable(self.vae)
        if attention_slicing:
            self.unet.set_attention_slice("auto")
        self._place(self.unet, offload, compile_unet)
        self._measure(image_size)

    def encode(
        self, images: Float[Tensor, "batch height width 3"], generator: Source | None = None
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Latents of display images of any size; they are resized (bilinear, antialiased) to `image_size`.

        Raises ValueError when the posterior is to be sampled and there is no generator.
        """
        return self.autoencoder.encode(images, self.image_size, generator)

    def decode(self, latents: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch height width 3"]:
        """Display images of latents."""
        return self.autoencoder.decode(latents)

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings with SDXL's micro-conditions for a square image that is not cropped (method card 6.2).

        Raises UnknownWords where the model has a closed vocabulary.
        """
        found = super().embed(prompts)
        if found.pooled is None:
            return found
        size = float(self.image_size)
        time_ids = torch.tensor([[size, size, 0.0, 0.0, size, size]], device=self._device).expand(len(found), 6)
        return replace(found, time_ids=time_ids)

    def _encode_text(self, prompts: Sequence[str]) -> Conditioning:
        return encode_prompts(self.folder, prompts, self._device)

    def _ask(
        self,
        network: Callable[..., Any],
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
    ) -> Float[Tensor, "batch *latent"]:
        told = condition.to(self._device, self.dtype)
        extra = None
        if condition.pooled is not None:
            extra = {"text_embeds": told.pooled, "time_ids": told.time_ids}
        steering = steering_arguments(network, told)
        inputs = (noised.to(self.dtype), t.to(self._device), told.tokens)
        output = network(*inputs, added_cond_kwargs=extra, cross_attention_kwargs=steering, return_dict=False)
        return output[0].float()

    def _measure(self, image_size: int | None) -> None:
        """Sizes that the configs imply."""
        taken, made = self.unet.config["in_channels"], self.autoencoder.channels
        if taken != made:
            raise ValueError(
                f"{self.name} takes {taken} channels where its VAE makes {made}: inpainting and depth models are not "
                "supported; use the base model"
            )
        self.image_size = image_size or self.unet.config["sample_size"] * self.autoencoder.shrink
        self.latent_shape = self.autoencoder.latent_shape(self.image_size)
