"""What people would prefer: a reward of renders for a prompt, from a model folder on this machine.

Two kinds of models, told by their `config.json`:

- `blip`: ImageReward (arXiv 2304.05977, section 2.3). A BLIP text encoder reads the prompt with the image in its
  cross-attention, and a head of linear layers without activations makes one number of its first token, standardised
  over the training set: `r = (head(BLIP(image, text)) - 0.16717363) / 1.03333947`. The folder holds BLIP for image-text
  retrieval in the layout of transformers, and the head as `reward.safetensors` (`layers.N.weight` and `.bias`).
- `clip`: PickScore (arXiv 2305.01569, section 3): `exp(logit_scale) cos(image, text)` of a CLIP that was trained on
  preferences.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from dreamkit.evaluate.clip import Clip, clip_pixels

MEAN, STD = 0.16717362830052426, 1.0333394966054072
"Of ImageReward's raw scores over its training set."
LONGEST = 35
"Tokens of a prompt that ImageReward reads."
HEAD = "reward.safetensors"


class AbstractReward(ABC):
    """A frozen judge of pictures."""

    @abstractmethod
    def scores(self, images: Float[Tensor, "images height width 3"], prompt: str) -> Float[Tensor, " images"]:
        """One number for each display image, larger is better; what is large depends on the model."""


class PickReward(AbstractReward):
    """PickScore, or any other CLIP: sharpened cosines."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.clip = Clip(folder, device)

    def scores(self, images: Float[Tensor, "images height width 3"], prompt: str) -> Float[Tensor, " images"]:
        return self.clip.sharpness * self.clip.similarity(images, [prompt])[:, 0]


class ImageReward(AbstractReward):
    """BLIP and a head that was trained on rankings of pictures by people."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        # Lazily: transformers takes seconds to import.
        from transformers import AutoTokenizer, BlipForImageTextRetrieval

        self.head = _read_head(folder / HEAD, device)
        try:
            model = BlipForImageTextRetrieval.from_pretrained(folder, use_safetensors=True, local_files_only=True)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except OSError as error:
            raise ValueError(f"cannot read a BLIP model in {folder}: {str(error).splitlines()[0]}") from error
        self.model: Any = model.to(torch.device(device)).requires_grad_(False).eval()  # pyright: ignore[reportArgumentType]
        self.device = torch.device(device)
        width = self.model.config.text_config.hidden_size
        if self.head[0][0].shape[1] != width:
            raise ValueError(
                f"{folder / HEAD} reads {self.head[0][0].shape[1]} features, and the model in {folder} makes {width}; "
                "they belong to different models"
            )

    @torch.no_grad()
    def scores(self, images: Float[Tensor, "images height width 3"], prompt: str) -> Float[Tensor, " images"]:
        pixels = clip_pixels(images, self.model.config.vision_config.image_size).to(self.device)
        seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
        words = self.tokenizer([prompt] * len(images), padding="max_length", truncation=True, max_length=LONGEST,
                               return_tensors="pt")  # fmt: skip
        read = self.model.text_encoder(
            input_ids=words.input_ids.to(self.device), attention_mask=words.attention_mask.to(self.device),
            encoder_hidden_states=seen, encoder_attention_mask=torch.ones(seen.shape[:2], device=self.device),
        )  # fmt: skip
        value = read.last_hidden_state[:, 0]
        for weight, bias in self.head:
            value = functional.linear(value, weight, bias)
        return ((value[:, 0] - MEAN) / STD).cpu()


def load_reward(folder: Path, device: str = "cpu") -> AbstractReward:
    """The reward model in a local folder; nothing is downloaded, and no pickle is read.

    Raises ValueError for a folder that holds none of the two kinds, or parts that do not fit.
    """
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds no reward model (config.json); name a local folder with PickScore (a CLIP), or with BLIP "
            f"and ImageReward's head ({HEAD})"
        ) from error
    if kind not in ("clip", "blip"):
        raise ValueError(f"{folder} holds a model of the type {kind!r}; reward models are of the types clip and blip")
    return PickReward(folder, device) if kind == "clip" else ImageReward(folder, device)


def _read_head(path: Path, device: str) -> Sequence[tuple[Tensor, Tensor]]:
    """The linear layers in their order; numbers in between belong to dropout, which does nothing here."""
    try:
        found = load_file(path, device=device)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot read the head of the reward model, {path}: {error}") from error
    numbers = sorted({int(name.split(".")[1]) for name in found if name.startswith("layers.") and name.count(".") == 2})
    try:
        layers = [(found[f"layers.{n}.weight"], found[f"layers.{n}.bias"]) for n in numbers]
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}; each layer has a weight and a bias") from error
    if not layers or len(layers[-1][0]) != 1:
        raise ValueError(f"{path} holds no head that ends in one number: it has {sorted(found)}")
    return layers
