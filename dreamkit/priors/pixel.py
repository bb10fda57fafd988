"""Pixel-space diffusion models in the layout of DeepFloyd IF's first stage: a UNet on pictures, and T5."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.prediction import check_kind
from dreamkit.priors.pretrained import AbstractPretrained, load_frozen, to_pixels
from dreamkit.priors.schedule import from_config
from dreamkit.priors.t5 import encode_t5

TOKENS = 77
"T5 could read more, but IF was trained with as many."


class Pixel(AbstractPretrained):
    """A diffusion model of small pictures by hub id, alias or local folder; x is the picture in [-1, 1], no VAE.

    Networks that also predict a variance have it dropped: a guidance needs the mean only (method card 1). Prompts are
    in lower case, as IF was trained.

    Does not do the super-resolution stages, nor the captions' cleaning that strips web addresses and markup.
    """

    def __init__(
        self,
        model: str = "if",
        *,
        revision: str | None = None,
        device: torch.device | str = "cpu",
        dtype: str = "float32",
        cache_embeddings: bool = True,
        offload: bool = False,
        compile_unet: bool = False,
    ) -> None:
        """Load the UNet; the options are those of `LatentDiffusion`.

        Raises PriorNotFound, UnsafeWeights, and ValueError for models and options that do not fit.
        """
        super().__init__(model, "pixel", revision=revision, device=device, dtype=dtype)
        # Lazily: diffusers takes seconds to import.
        from diffusers import UNet2DConditionModel

        config = self._config("scheduler/scheduler_config.json")
        self.schedule = from_config(config)
        self._kind = check_kind(config.get("prediction_type", "epsilon"))
        self.unet: UNet2DConditionModel = load_frozen(UNet2DConditionModel, self.folder, "unet", self.dtype, self._half)
        taken = self.unet.config["in_channels"]
        if taken != 3:
            raise ValueError(
                f"a pixel prior takes pictures of 3 channels; {self.name} takes {taken}. Use the first stage of a "
                'cascade, or type = "latent_diffusion" for a model with a VAE'
            )
        if cache_embeddings:
            self._open_cache(("model_index.json", "tokenizer", "text_encoder"), f"t5={TOKENS} half={self._half}")
        self._place(self.unet, offload, compile_unet)
        self.image_size = self.unet.config["sample_size"]
        self.latent_shape = (3, self.image_size, self.image_size)

    def encode(
        self, images: Float[Tensor, "batch height width 3"], generator: Source | None = None
    ) -> Float[Tensor, "batch 3 rows columns"]:
        """`2 I - 1`, resized (bilinear, antialiased) to `image_size`; nothing is drawn."""
        return to_pixels(images, self.image_size)

    def decode(self, latents: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch rows columns 3"]:
        """Display images, `(x + 1) / 2`."""
        return latents.movedim(1, -1) / 2 + 0.5

    def _encode_text(self, prompts: Sequence[str]) -> Conditioning:
        plain = [prompt.lower().strip() for prompt in prompts]
        tokens = encode_t5(self.folder, "", plain, self._device, length=TOKENS, half=self._half, masked=True)
        return Conditioning(tokens)

    def _ask(
        self,
        network: Callable[..., Any],
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
    ) -> Float[Tensor, "batch *latent"]:
        tokens = condition.to(self._device, self.dtype).tokens
        output = network(noised.to(self.dtype), t.to(self._device), tokens, return_dict=False)[0]
        # The second half, where there is one, is the learnt variance.
        return output[:, :3].float()
