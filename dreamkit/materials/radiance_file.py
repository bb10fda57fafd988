"""Radiance .hdr files: linear light in 4 bytes a texel, three mantissas and one exponent (Ward, Graphics Gems II)."""

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MOST_TEXELS = 1 << 25
"Larger maps are refused: a header can claim any size."
_SIZE = re.compile(rb"-Y (\d+) \+X (\d+)\n")


def read_hdr(path: Path) -> Float[Tensor, "height width 3"]:
    """Linear radiance of an RGBE file, top row first, plain or run-length encoded.

    Raises FileNotFoundError, and ValueError for files that are not Radiance pictures, are cut short, or are too large.
    """
    content = Path(path).read_bytes()
    header = content.find(b"\n\n")
    size = _SIZE.match(content, header + 2) if header >= 0 else None
    if not content.startswith((b"#?RADIANCE", b"#?RGBE")) or size is None:
        raise ValueError(f"{path} is not a Radiance .hdr picture that starts at its top left; convert it to one")
    height, width = int(size[1]), int(size[2])
    if not 0 < height * width <= MOST_TEXELS:
        raise ValueError(
            f"{path} claims {width} x {height} texels; at most {MOST_TEXELS} are read. Scale it down first"
        )
    texels = _rows(content, size.end(), height, width, path)
    scale = np.ldexp(1.0, texels[..., 3].astype(np.int32) - 136) * (texels[..., 3] > 0)
    return torch.from_numpy((texels[..., :3] * scale[..., None]).astype(np.float32))


def write_hdr(radiance: Float[Tensor, "height width 3"], path: Path) -> None:
    """Write linear light, at least 0, as a plain RGBE file: 8 bits of precision for the largest channel of a texel."""
    values = radiance.detach().cpu().double().numpy()
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("an environment map to be written needs finite light of at least 0")
    top = values.max(axis=-1, keepdims=True)
    exponent = np.frexp(np.maximum(top, 1e-30))[1]
    # Half a step below the next power of two would round up to 256.
    exponent += np.round(np.ldexp(top, 8 - exponent)) > 255
    mantissa = np.round(np.ldexp(values, 8 - exponent))
    texels = np.concatenate([mantissa, exponent + 128.0], axis=-1) * (top > 1e-30)
    height, width = values.shape[:2]
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode()
    Path(path).write_bytes(head + texels.astype(np.uint8).tobytes())


def _rows(content: bytes, start: int, height: int, width: int, path: Path) -> np.ndarray:
    data = np.frombuffer(content, dtype=np.uint8)
    marked = 8 <= width < 1 << 15 and bytes(data[start : start + 4]) == bytes([2, 2, width >> 8, width & 255])
    if not marked:
        if len(data) - start < height * width * 4:
            raise ValueError(f"{path} is cut short: {width} x {height} texels do not fit into it")
        return data[start : start + height * width * 4].reshape(height, width, 4)
    # Every row costs at least its mark and two bytes per channel and run of 127.
    if len(data) - start < height * (4 + 8 * -(-width // 127)):
        raise ValueError(f"{path} is cut short: {width} x {height} texels do not fit into it")
    rows = np.empty((height, 4, width), dtype=np.uint8)
    for row in rows:
        start += 4
        for channel in row:
            start = _unpack(data, start, channel, path)
    return rows.transpose(0, 2, 1)


def _unpack(data: np.ndarray, start: int, channel: np.ndarray, path: Path) -> int:
    """Fill one channel of one row: a count above 128 repeats the next byte, others announce plain bytes."""
    done = 0
    while done < len(channel):
        count = int(data[start]) if start + 1 < len(data) else 0
        run = count - 128 if count > 128 else count
        taken = 1 if count > 128 else count
        if not run or done + run > len(channel) or start + 1 + taken > len(data):
            raise ValueError(f"{path} is damaged or cut short: a run of texels does not fit into its row")
        channel[done : done + run] = data[start + 1 : start + 1 + taken]
        start, done = start + 1 + taken, done + run
    return start
