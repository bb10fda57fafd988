"""The toybox prior's networks: a Stable Diffusion in miniature, with the same classes and the same folder layout."""

# pyright: reportArgumentType=false
# diffusers annotates constructor arguments with the types of their defaults (tuple[str] for any tuple of strings).

import json
import string
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from dreamkit.toybox.captions import VIEWS, vocabulary
from dreamkit.toybox.paint import COLORS, PATTERNS
from dreamkit.toybox.world import KINDS

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

WIDTH = 128
"Channels of a token's embedding."
TOKENS = 12
"Longest caption: nine tokens, with the start and end marks."


@dataclass(frozen=True)
class Denoiser:
    """The parts that learn together: what a caption means, and what noise looks like."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"text_encoder": self.text_encoder, "unet": self.unet})

    def token_ids(self, captions: list[str]) -> torch.Tensor:
        """Ids of the captions, padded to the same length; shape `captions tokens`."""
        batch = self.tokenizer(captions, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        return batch["input_ids"]


def new_autoencoder() -> "AutoencoderKL":
    """64x64x3 pictures to 16x16x4 latents; 0.65 M parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=False,
    )


def new_denoiser() -> Denoiser:
    """A UNet of 8.2 M parameters on 16x16x4 latents and a two-layer CLIP text encoder, untrained."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = new_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 176),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return Denoiser(tokenizer, CLIPTextModel(text), unet)


def new_scheduler_config() -> dict[str, str | int | float | bool]:
    """Stable Diffusion's noise levels: scaled-linear betas from 0.00085 to 0.012 over 1000 levels, eps-prediction."""
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "clip_sample": False,
        "steps_offset": 1,
    }


def new_tokenizer() -> "CLIPTokenizer":
    """A CLIP tokenizer in which every word of the toy world is one token."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, ","]
    pieces = [*letters, *[letter + "</w>" for letter in letters]]
    merges: list[tuple[str, str]] = []
    for word in vocabulary():
        _add_merges([*word[:-1], word[-1] + "</w>"], merges)
    special = ["<|startoftext|>", "<|endoftext|>"]
    tokens = list(dict.fromkeys([*special, *pieces, *["".join(pair) for pair in merges]]))
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=TOKENS
    )


def _add_merges(pieces: list[str], merges: list[tuple[str, str]]) -> None:
    """Extend `merges` until byte-pair encoding joins `pieces` into one token.

    New merges rank below all earlier ones, and a word that is joined already never asks for a later merge: so a
    word once learnt stays one token.
    """
    while len(pieces) > 1:
        ranked = [(merges.index(pair), i) for i, pair in enumerate(pairwise(pieces)) if pair in merges]
        if not ranked:
            merges.append((pieces[0], pieces[1]))
            ranked = [(0, 0)]
        first = min(ranked)[1]
        pieces[first : first + 2] = ["".join(pieces[first : first + 2])]


def read_pipeline(folder: Path, autoencoder: "AutoencoderKL", denoiser: Denoiser) -> None:
    """Put the weights of a prior that `write_pipeline` wrote into the networks.

    Raises FileNotFoundError where a file is missing, RuntimeError where the networks have other shapes.
    """
    autoencoder.load_state_dict(load_file(folder / "vae" / "diffusion_pytorch_model.safetensors"))
    denoiser.unet.load_state_dict(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
    denoiser.text_encoder.load_state_dict(load_file(folder / "text_encoder" / "model.safetensors"))


def write_pipeline(folder: Path, autoencoder: "AutoencoderKL", denoiser: Denoiser) -> None:
    """Write the prior in the ordinary diffusers layout, in half precision, with the list of words that it knows."""
    from diffusers import DDPMScheduler, StableDiffusionPipeline

    config = {key: value for key, value in new_scheduler_config().items() if not key.startswith("_")}
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=DDPMScheduler(**config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    words = {
        "kinds": list(KINDS),
        "colors": list(COLORS),
        "patterns": list(PATTERNS),
        "views": list(VIEWS),
        "words": vocabulary(),
    }
    (folder / "vocabulary.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
