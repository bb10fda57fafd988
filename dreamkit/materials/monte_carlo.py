"""Light that a surface reflects, by sampling directions: right for any light, as smooth as it has samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.materials.ggx import (
    Reflectance,
    distribution,
    frame,
    reflected_share,
    sample_cosine,
    sample_half_vector,
    spiral,
)
from dreamkit.vectors import dot, normalize

Radiance = Callable[[Float[Tensor, "points samples 3"]], Float[Tensor, "points samples 3"]]
"Linear light that arrives from unit directions; a shadow is a radiance of zero."


@dataclass(frozen=True)
class Samples:
    """How many directions each point looks into."""

    matt: int = 32
    "Cosine-weighted directions."
    shine: int = 32
    "Mirrored at half-vectors drawn from D."

    def __post_init__(self) -> None:
        if self.matt < 0 or self.shine < 0 or self.matt + self.shine < 1:
            raise ValueError(f"Monte-Carlo shading needs at least one direction; got {self.matt} and {self.shine}")


def reflect_radiance(
    surface: Reflectance,
    normal: Float[Tensor, "points 3"],
    towards: Float[Tensor, "points 3"],
    radiance: Radiance,
    samples: Samples,
    shift: Float[Tensor, "points 2"] | None = None,
) -> Float[Tensor, "points 3"]:
    """Linear radiance towards the viewer, `sum_j f(l_j) L(l_j) n.l_j / (n_d p_d(l_j) + n_s p_s(l_j))`.

    The balance heuristic over both kinds of direction, `p_d = n.l / pi` and `p_s = D n.h / (4 v.h)`: unbiased over
    uniform `shift` in [0, 1)^2, which moves the fixed spirals of `Samples` (nothing moves without it). Directions are
    not differentiated, so gradients reach the surface's values, the normal's shading and the radiance without bias.
    Source: card representations 4.3; Veach and Guibas, SIGGRAPH 1995.
    """
    with torch.no_grad():
        light = _directions(surface, normal, towards, samples, shift)
        weight = _weights(surface, normal, towards, light, samples)
    spread = Reflectance(*(value[:, None] for value in (surface.base_color, surface.metallic, surface.roughness)))
    share = reflected_share(spread, normal[:, None], towards[:, None], light)
    cosine = dot(normal[:, None], light).clamp_min(0)
    return (share * cosine * weight * radiance(light)).sum(dim=1)


def _directions(
    surface: Reflectance,
    normal: Float[Tensor, "points 3"],
    towards: Float[Tensor, "points 3"],
    samples: Samples,
    shift: Float[Tensor, "points 2"] | None,
) -> Float[Tensor, "points samples 3"]:
    """First the cosine-weighted directions, then the mirrored ones."""
    tangent, bitangent = frame(normal)
    axes = torch.stack([tangent, bitangent, normal], dim=-2)

    def draws(count: int) -> Float[Tensor, "points count 2"]:
        fixed = spiral(count, normal.device).to(normal).expand(len(normal), count, 2)
        return fixed if shift is None else (fixed + shift[:, None].to(normal)) % 1

    matt = sample_cosine(draws(samples.matt)) @ axes
    half = sample_half_vector(draws(samples.shine), surface.width[:, None]) @ axes
    shine = 2 * dot(half, towards[:, None]) * half - towards[:, None]
    return torch.cat([matt, shine], dim=1)


def _weights(
    surface: Reflectance,
    normal: Float[Tensor, "points 3"],
    towards: Float[Tensor, "points 3"],
    light: Float[Tensor, "points samples 3"],
    samples: Samples,
) -> Float[Tensor, "points samples 1"]:
    """One over the summed densities; zero for directions below the surface, which reflect nothing."""
    half = normalize(towards[:, None] + light)
    n_l, n_h = dot(normal[:, None], light), dot(normal[:, None], half).clamp(0, 1)
    v_h = dot(towards[:, None], half).clamp_min(1e-6)
    shine = distribution(n_h, surface.width[:, None]) * n_h / (4 * v_h)
    density = samples.matt * n_l.clamp_min(0) / math.pi + samples.shine * shine
    return torch.where(n_l > 0, 1 / density.clamp_min(1e-12), 0)
