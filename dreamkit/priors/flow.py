"""Flow-matching models (Stable Diffusion 3 and 3.5, Flux) as predictors of noise."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.names import did_you_mean
from dreamkit.priors.autoencoder import Autoencoder
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source
from dreamkit.priors.flow_backbone import AbstractFlowBackbone
from dreamkit.priors.flow_flux import FluxBackbone
from dreamkit.priors.flow_sd3 import SD3Backbone
from dreamkit.priors.pretrained import AbstractPretrained, load_frozen
from dreamkit.priors.schedule import flow_from_config


class Flow(AbstractPretrained):
    """A rectified-flow model by hub id, alias or local folder: `x_t = (1 - s) x_0 + s eps`, velocity `eps - x_0`.

    Level t is `s(u)` at `u = (t + 1) / 1000`, with the shift of the scheduler's config, for Flux that of the image's
    size; level 999 is pure noise, where x_0 cannot be told from x_t. The velocity v becomes `eps = x_t + (1 - s) v`,
    so every guidance works as on a diffusion; weightings are in its scales. Everything else is as in `LatentDiffusion`.

    Does not do image inputs (Fill, Kontext, Redux) nor skip-layer guidance.
    """

    level: ClassVar[str] = "time_text_embed.timestep_embedder"
    _kind = "flow_prediction"

    def __init__(
        self,
        model: str = "sd35",
        *,
        revision: str | None = None,
        device: torch.device | str = "cpu",
        dtype: str = "float32",
        image_size: int | None = None,
        sample_posterior: bool = True,
        cache_embeddings: bool = True,
        use_t5: bool = True,
        embedded_guidance: float = 3.5,
        offload: bool = False,
        compile_transformer: bool = False,
    ) -> None:
        """Load the transformer and the VAE.

        `use_t5`: False leaves T5's 4.7 billion parameters out (SD3 only; Flux has no other text). `embedded_guidance`:
        the scale that Flux-dev is told. The other options are those of `LatentDiffusion`.

        Raises PriorNotFound, UnsafeWeights, and ValueError for models and options that do not fit.
        """
        super().__init__(model, "flow", revision=revision, device=device, dtype=dtype)
        self.backbone = self._load_backbone(use_t5, embedded_guidance)
        self.autoencoder = Autoencoder(self.folder, self._device, self.dtype, sample_posterior)
        if cache_embeddings:
            self._open_cache(self.backbone.text_parts, f"t5={self.backbone.t5_tokens} half={self._half}")
        self._place(self.backbone.network, offload, compile_transformer)
        self._measure(image_size)
        tokens = self.latent_shape[1] * self.latent_shape[2] // self.backbone.patch**2
        self.schedule = flow_from_config(self._config("scheduler/scheduler_config.json"), tokens)

    def encode(
        self, images: Float[Tensor, "batch height width 3"], generator: Source | None = None
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Latents of display images, resized to `image_size`; raises ValueError where it needs a generator."""
        return self.autoencoder.encode(images, self.image_size, generator)

    def decode(self, latents: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch height width 3"]:
        """Display images of latents."""
        return self.autoencoder.decode(latents)

    def _encode_text(self, prompts: Sequence[str]) -> Conditioning:
        return self.backbone.encode_text(prompts, self._device, self._half)

    def _ask(
        self,
        network: Callable[..., Any],
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
    ) -> Float[Tensor, "batch *latent"]:
        told = condition.to(self._device, self.dtype)
        s = self.schedule.sigmas.to(t.device)[t].to(self._device, torch.float32)
        return self.backbone.velocity(network, noised.to(self.dtype), s, told).float()

    def _load_backbone(self, use_t5: bool, embedded_guidance: float) -> AbstractFlowBackbone:
        # Lazily: diffusers takes seconds to import.
        from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

        known = {"SD3Transformer2DModel": SD3Transformer2DModel, "FluxTransformer2DModel": FluxTransformer2DModel}
        name = self._config("transformer/config.json").get("_class_name", "")
        if name not in known:
            raise ValueError(
                f"{self.name} has the transformer {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}"
            )
        network = load_frozen(known[name], self.folder, "transformer", self.dtype, self._half)
        if name == "SD3Transformer2DModel":
            return SD3Backbone(self.folder, network, use_t5)
        if not use_t5:
            raise ValueError("use_t5=False works with Stable Diffusion 3 only: Flux reads its words from T5")
        return FluxBackbone(self.folder, network, embedded_guidance)

    def _measure(self, image_size: int | None) -> None:
        taken, made = self.backbone.channels, self.autoencoder.channels
        if taken != made:
            raise ValueError(
                f"{self.name} takes {taken} channels where its VAE makes {made}: models with image inputs are not "
                "supported; use the base model"
            )
        self.image_size = image_size or self.backbone.latent_size * self.autoencoder.shrink
        self.latent_shape = self.autoencoder.latent_shape(self.image_size, self.backbone.patch)
