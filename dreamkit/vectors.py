"""Vectors along the last axis: dot products, unit vectors, the sRGB transfer curve."""

import torch
from jaxtyping import Float
from torch import Tensor


def dot(a: Float[Tensor, "*#batch axis"], b: Float[Tensor, "*#batch axis"]) -> Float[Tensor, "*#batch 1"]:
    """Inner product along the last axis, kept as an axis of length one; the others broadcast."""
    return (a * b).sum(dim=-1, keepdim=True)


def normalize(a: Float[Tensor, "*batch axis"], eps: float = 1e-8) -> Float[Tensor, "*batch axis"]:
    """Unit vector `a / max(|a|, eps)`; the zero vector stays zero and has a finite gradient."""
    # The floor sits inside the root: |a| itself has a NaN gradient at a = 0.
    return a * torch.rsqrt(dot(a, a).clamp_min(eps * eps))


def encode_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light to display values: `12.92 l` below 0.0031308, else `1.055 l^(1/2.4) - 0.055` (IEC 61966-2-1)."""
    # The power has an infinite slope at zero; the clamp keeps the gradient of the branch not taken finite.
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def decode_srgb(display: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display values to linear light: `e / 12.92` below 0.04045, else `((e + 0.055) / 1.055)^2.4` (IEC 61966-2-1)."""
    curve = ((display.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(display <= 0.04045, display / 12.92, curve)


def middle_and_reach(points: Float[Tensor, "points 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, ""]]:
    """The middle of the points' axis-aligned box, and the distance from there to the farthest point."""
    middle = (points.amin(dim=0) + points.amax(dim=0)) / 2
    return middle, (points - middle).norm(dim=-1).max()
