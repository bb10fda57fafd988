"""The pictures of a run that a page shows: the latest step's view, and a thumbnail of what is done."""

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from dreamkit.export.png import encode_png
from dreamkit.rendering import Rendering
from dreamkit.vectors import normalize

_PAPER = 0.13
"Grey behind the normals."


@dataclass(frozen=True)
class Picture:
    """One image as PNG bytes, and what it shows."""

    name: str
    png: bytes


def preview_pictures(rendering: Rendering) -> tuple[Picture, ...]:
    """The first view of a step: colour, normals (`(n + 1) / 2` where there are any) and opacity.

    A step whose numbers are not finite has no pictures.
    """
    alpha = rendering.alpha[0]
    named = {"render": rendering.color[0]}
    if rendering.normal is not None:
        named["normals"] = _normal_colors(rendering.normal[0], alpha)
    named["opacity"] = alpha.expand(-1, -1, 3)
    if not all(image.isfinite().all() for image in named.values()):
        return ()
    return tuple(Picture(name, encode_png(image)) for name, image in named.items())


def _normal_colors(
    normal: Float[Tensor, "height width 3"], alpha: Float[Tensor, "height width 1"]
) -> Float[Tensor, "height width 3"]:
    return torch.lerp(torch.full_like(normal, _PAPER), 0.5 + 0.5 * normalize(normal), alpha)


def thumbnail(preview: Path, size: int = 192) -> bytes:
    """The front view of a run's `preview.png` (views side by side) as a small WebP; raises OSError."""
    with Image.open(preview) as strip:
        front = strip.convert("RGB").crop((0, 0, strip.height, strip.height))
    buffer = io.BytesIO()
    front.resize((size, size), Image.Resampling.LANCZOS).save(buffer, format="WEBP", quality=80)
    return buffer.getvalue()
