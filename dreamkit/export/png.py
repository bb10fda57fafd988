"""Images of numbers in [0, 1] as 8-bit PNG bytes."""

import io

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor


def encode_png(image: Float[Tensor, "height width channels"]) -> bytes:
    """PNG bytes of an image of three channels or one (grey), row 0 at the top; values outside [0, 1] are clipped.

    The same image gives the same bytes. Raises ValueError for values that are not finite.
    """
    if not image.isfinite().all():
        raise ValueError("an image to be written as PNG has values that are not finite; look for NaN in its source")
    buffer = io.BytesIO()
    pixels = to_bytes(image)
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def to_bytes(image: Float[Tensor, "*batch height width channels"]) -> np.ndarray:
    """Nearest 8-bit values, `round(255 clip(x, 0, 1))`."""
    return (image.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
