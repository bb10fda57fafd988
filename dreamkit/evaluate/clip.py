"""CLIP's opinion of renders, from a model folder on this machine: score and R-precision.

CLIP: arXiv 2103.00020. CLIP R-precision of 3D assets: Dream Fields, arXiv 2112.01455, section 4.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"Of the pictures that CLIP was trained on."


class Clip:
    """A frozen CLIP model in the layout of transformers (`config.json`, safetensors, tokenizer)."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Load it; raises ValueError for a folder that holds none. Nothing is downloaded, and no pickle is read."""
        # Lazily: transformers takes seconds to import.
        from transformers import CLIPModel, CLIPTokenizer

        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} holds no CLIP model (config.json); name a local folder, such as a hub snapshot")
        try:
            model = CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
            self.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except OSError as error:
            raise ValueError(f"cannot read a CLIP model in {folder}: {str(error).splitlines()[0]}") from error
        self.model = model.to(torch.device(device)).requires_grad_(False).eval()  # pyright: ignore[reportArgumentType]
        self.device = torch.device(device)

    @property
    def sharpness(self) -> float:
        """The learnt factor of the cosines, `exp(logit_scale)`."""
        return float(self.model.logit_scale.exp())

    @torch.no_grad()
    def similarity(
        self, images: Float[Tensor, "images height width 3"], prompts: Sequence[str]
    ) -> Float[Tensor, "images prompts"]:
        """Cosine of the embeddings of display images and texts; images are resized to CLIP's size."""
        config: Any = self.model.config
        length = config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        output = self.model(
            input_ids=tokens.input_ids.to(self.device), attention_mask=tokens.attention_mask.to(self.device),
            pixel_values=clip_pixels(images, config.vision_config.image_size).to(self.device),
        )  # fmt: skip
        return (
            functional.normalize(output.image_embeds, dim=-1) @ functional.normalize(output.text_embeds, dim=-1).T
        ).cpu()


def clip_pixels(images: Float[Tensor, "images height width 3"], size: int) -> Float[Tensor, "images 3 size size"]:
    """Display images as CLIP and BLIP take them: resized (bicubic), and standardised by their training pictures."""
    pixels = functional.interpolate(images.movedim(-1, 1), (size, size), mode="bicubic", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return (pixels.clamp(0, 1) - mean) / std


def clip_score(similarity: Float[Tensor, "images prompts"], own: Sequence[int]) -> float:
    """`100 max(0, cos)` of each image and its own prompt, in the mean (arXiv 2104.08718, without its factor 2.5)."""
    return float(100 * similarity[torch.arange(len(own)), list(own)].clamp_min(0).mean())


def r_precision(similarity: Float[Tensor, "images prompts"], own: Sequence[int]) -> float:
    """Share of images to which no prompt is nearer than their own; a tie is no hit."""
    mine = similarity[torch.arange(len(own)), list(own)]
    nearer = (similarity >= mine.unsqueeze(1)).sum(dim=1)
    return float((nearer == 1).float().mean())
