"""Stable Diffusion 1.x, 2.x and SDXL, and everything else in their layout: a VAE, a UNet and text encoders."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.names import did_you_mean
from dreamkit.priors import schedule as noise_schedules
from dreamkit.priors.base import AbstractPrior, Conditioning
from dreamkit.priors.cache import embedding_cache
from dreamkit.priors.draws import Source, normal
from dreamkit.priors.locate import locate, variant
from dreamkit.priors.prediction import check_kind, to_noise
from dreamkit.priors.text import PARTS, encode_prompts
from dreamkit.priors.vocabulary import Vocabulary

if TYPE_CHECKING:
    pass

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class LatentDiffusion(AbstractPrior):
    """A latent diffusion model by hub id, alias or local folder, loaded with diffusers; eps- and v-prediction.

    Latents are `scaling_factor (z - m) / s` with the VAE's posterior sample z and, where the VAE config has them, the
    channel means m and deviations s. They are float32 whatever the networks compute in. All weights are frozen; the
    gradient flows through `encode`, and through `predict_noise` only where it is asked to. Text encoders live only
    while new prompts are embedded. A model folder with a `vocabulary.json` refuses prompts with other words.

    Does not do inpainting, depth or refiner models, nor the micro-conditions of crops.
    """

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
    ) -> None:
        """Load the UNet and the VAE.

        `image_size`: side of the images that the prior looks at, in pixels; without it, what the model was trained on.
        `sample_posterior`: False encodes to the posterior's mean. `attention_slicing`: less memory, slower.
        `offload`: the UNet waits in main memory and visits the GPU block by block (CUDA only). `compile_unet`:
        `torch.compile`, which pays after a few hundred steps.

        Raises PriorNotFound, UnsafeWeights, and ValueError for models and options that do not fit.
        """
        if dtype not in DTYPES:
            raise ValueError(f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)} Known: {', '.join(DTYPES)}")
        self.name = model
        self.dtype = DTYPES[dtype]
        self.folder = locate(model, revision, half=self.dtype != torch.float32)
        self.sample_posterior = sample_posterior
        self._device = torch.device(device)
        self._cache = embedding_cache(self.folder, PARTS) if cache_embeddings else None
        self.vocabulary = Vocabulary.of(self.folder)
        self._load_schedule()
        self._load_networks()
        self._place_networks(attention_slicing, offload, compile_unet)
        self._measure(image_size)

    @property
    def device(self) -> torch.device:
        return self._device

    def encode(
        self, images: Float[Tensor, "batch height width 3"], generator: Source | None = None
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Latents of display images of any size; they are resized (bilinear, antialiased) to `image_size`.

        Raises ValueError when the posterior is to be sampled and there is no generator.
        """
        pixels = images.movedim(-1, 1)
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        posterior = self.vae.encode((2 * pixels - 1).to(self.vae.dtype), return_dict=False)[0]
        latents = posterior.mean.float()
        if self.sample_posterior:
            if generator is None:
                raise ValueError("encoding samples the VAE's posterior: give a generator, or sample_posterior=False")
            latents = latents + posterior.std.float() * normal(latents, generator)
        return (latents - self._shift) * self._factor

    def decode(self, latents: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch height width 3"]:
        """Display images of latents."""
        z = (latents / self._factor + self._shift).to(self.vae.dtype)
        return self.vae.decode(z, return_dict=False)[0].float().movedim(1, -1) / 2 + 0.5

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings from the cache on disk; the text encoders are loaded only for prompts that are not in it.

        Raises UnknownWords where the model has a closed vocabulary.
        """
        if self.vocabulary is not None:
            self.vocabulary.check(prompts, self.name)
        rows = {} if self._cache is None else {prompt: self._cache.get(prompt) for prompt in prompts}
        missing = [prompt for prompt in dict.fromkeys(prompts) if rows.get(prompt) is None]
        if missing:
            fresh = encode_prompts(self.folder, missing, self._device)
            for index, prompt in enumerate(missing):
                rows[prompt] = fresh[index : index + 1]
                if self._cache is not None:
                    self._cache.put(prompt, fresh[index : index + 1])
        found = Conditioning.cat([row for prompt in prompts if (row := rows[prompt]) is not None])
        return self._with_time_ids(found).to(self._device)

    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]:
        told = condition.to(self._device, self.dtype)
        extra = None
        if condition.pooled is not None:
            extra = {"text_embeds": told.pooled, "time_ids": told.time_ids}
        inputs = (noised.to(self.dtype), t.to(self._device), told.tokens)
        output = self._network(*inputs, added_cond_kwargs=extra, return_dict=False)[0]
        return to_noise(self._kind, output.float(), noised, t, self.schedule)

    def _with_time_ids(self, condition: Conditioning) -> Conditioning:
        """SDXL's micro-conditions for a square image that is not cropped (method card 6.2)."""
        if condition.pooled is None:
            return condition
        size = float(self.image_size)
        time_ids = torch.tensor([[size, size, 0.0, 0.0, size, size]]).expand(len(condition), 6)
        return replace(condition, time_ids=time_ids)

    def _load_schedule(self) -> None:
        config = self._config("scheduler/scheduler_config.json")
        self.schedule = noise_schedules.from_config(config)
        self._kind = check_kind(config.get("prediction_type", "epsilon"))

    def _config(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing; a model folder in diffusers layout has it. Copy the whole model")
        return json.loads(path.read_text(encoding="utf-8"))

    def _load_networks(self) -> None:
        # Lazily: diffusers takes seconds to import.
        from diffusers import AutoencoderKL, UNet2DConditionModel

        half = self.dtype != torch.float32
        self.unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(
            self.folder / "unet",
            use_safetensors=True,
            variant=variant(self.folder, "unet", half),
            torch_dtype=self.dtype,
        )
        # Activations of SDXL's VAE overflow in fp16, and its gradient is the noisy part of the whole chain. A config
        # that does not say counts as "force_upcast", as it does in diffusers.
        wide = self._config("vae/config.json").get("force_upcast", True)
        self.vae: AutoencoderKL = AutoencoderKL.from_pretrained(
            self.folder / "vae",
            use_safetensors=True,
            variant=variant(self.folder, "vae", half),
            torch_dtype=torch.float32 if wide else self.dtype,
        )
        for network in (self.unet, self.vae):
            network.requires_grad_(False).eval()

    def _place_networks(self, attention_slicing: bool, offload: bool, compile_unet: bool) -> None:
        _move(self.vae, self._device)
        if attention_slicing:
            self.unet.set_attention_slice("auto")
        if offload:
            if self._device.type != "cuda":
                raise ValueError(f"offload moves the UNet between main memory and a GPU; device is {self._device}")
            self.unet.enable_group_offload(self._device, offload_type="block_level", num_blocks_per_group=1)
        else:
            _move(self.unet, self._device)
        self._network: Callable[..., Any] = torch.compile(self.unet) if compile_unet else self.unet

    def _measure(self, image_size: int | None) -> None:
        """Sizes and scales that the configs imply."""
        unet, vae = self.unet.config, self.vae.config
        channels = vae["latent_channels"]
        if unet["in_channels"] != channels:
            raise ValueError(
                f"{self.name} takes {unet['in_channels']} channels where its VAE makes {channels}: inpainting and "
                "depth models are not supported; use the base model"
            )
        shrink = 2 ** (len(vae["block_out_channels"]) - 1)
        self.image_size = image_size or unet["sample_size"] * shrink
        if self.image_size % shrink:
            raise ValueError(f"image_size must be a multiple of {shrink} for this VAE; got {self.image_size}")
        self.latent_shape = (channels, self.image_size // shrink, self.image_size // shrink)
        mean = vae["latents_mean"] or [vae["shift_factor"] or 0.0] * channels
        std = vae["latents_std"] or [1.0] * channels
        self._shift = torch.tensor(mean, device=self._device).view(-1, 1, 1)
        self._factor = vae["scaling_factor"] / torch.tensor(std, device=self._device).view(-1, 1, 1)


def _move(network: nn.Module, device: torch.device) -> None:
    network.to(device)
