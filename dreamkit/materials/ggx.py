"""The metallic-roughness surface: a matt part and a GGX microfacet part, in linear light.

Sources: glTF 2.0, appendix B; Walter et al., "Microfacet Models for Refraction", EGSR 2007; card representations 4.3.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.vectors import dot, normalize

MIN_ROUGHNESS = 0.08
"Roughness below this is drawn as this: a narrower highlight falls between the texels of any environment map."
DIELECTRIC = 0.04
"Mirror reflectance of what is not a metal, straight on (refractive index 1.5)."
GRAZING = 1e-4
"Smallest cosine towards the viewer: interpolated normals may turn away from a camera that sees their surface."


@dataclass(frozen=True)
class Reflectance:
    """What a surface does with light at some points; all values linear, in [0, 1]."""

    base_color: Float[Tensor, "*points 3"]
    metallic: Float[Tensor, "*points 1"]
    roughness: Float[Tensor, "*points 1"]
    "Perceptual: the width of the GGX lobe is its square."

    @property
    def width(self) -> Float[Tensor, "*points 1"]:
        """`a = max(roughness, 0.08)^2`."""
        return self.roughness.clamp_min(MIN_ROUGHNESS).square()

    @property
    def mirror(self) -> Float[Tensor, "*points 3"]:
        """Reflectance straight on, `F0 = 0.04 (1 - m) + m base`."""
        return DIELECTRIC * (1 - self.metallic) + self.metallic * self.base_color

    @property
    def matt(self) -> Float[Tensor, "*points 3"]:
        """Albedo of the matt part, `(1 - m) base`."""
        return (1 - self.metallic) * self.base_color


def distribution(n_h: Float[Tensor, "*#points 1"], width: Float[Tensor, "*#points 1"]) -> Float[Tensor, "*#points 1"]:
    """Density of half-vectors, `D = a^2 / (pi ((n.h)^2 (a^2 - 1) + 1)^2)`; `integral D n.h dh = 1`."""
    # 1 - (n.h)^2 first: added to a^2, it keeps the digits that narrow lobes need.
    spread = (1 - n_h * n_h) + (width * n_h).square()
    return width.square() / (math.pi * spread.square())


def visibility(
    n_l: Float[Tensor, "*#points 1"], n_v: Float[Tensor, "*#points 1"], width: Float[Tensor, "*#points 1"]
) -> Float[Tensor, "*#points 1"]:
    """Height-correlated Smith shadowing over the cosines, `G / (4 n.l n.v)`.

    `1 / (2 (n.l sqrt((n.v)^2 (1 - a^2) + a^2) + n.v sqrt((n.l)^2 (1 - a^2) + a^2)))`.
    """
    square = width.square()
    masked = n_l * torch.sqrt(n_v.square() * (1 - square) + square)
    shadowed = n_v * torch.sqrt(n_l.square() * (1 - square) + square)
    return 0.5 / (masked + shadowed)


def fresnel(mirror: Float[Tensor, "*#points 3"], v_h: Float[Tensor, "*#points 1"]) -> Float[Tensor, "*#points 3"]:
    """Schlick: `F0 + (1 - F0) (1 - v.h)^5`."""
    return mirror + (1 - mirror) * (1 - v_h.clamp(0, 1)) ** 5


def reflected_share(
    surface: Reflectance,
    normal: Float[Tensor, "*#points 3"],
    towards: Float[Tensor, "*#points 3"],
    light: Float[Tensor, "*#points 3"],
) -> Float[Tensor, "*#points 3"]:
    """The reflectance function `f(l, v) = (1 - m) base / pi + D F G / (4 n.l n.v)`, per steradian; zero from below.

    `towards` is the unit direction to the viewer and `light` the one to the light. The same for l and v exchanged.
    """
    half = normalize(towards + light)
    n_l, n_v = dot(normal, light), dot(normal, towards)
    lit = (n_l > 0) & (n_v > 0)
    shape = distribution(dot(normal, half).clamp(0, 1), surface.width)
    # The floors keep the branch that is not taken finite.
    shade = visibility(n_l.clamp_min(GRAZING), n_v.clamp_min(GRAZING), surface.width)
    shine = fresnel(surface.mirror, dot(towards, half)) * (shape * shade)
    return torch.where(lit, surface.matt / math.pi + shine, 0)


def facing(normal: Float[Tensor, "*points 3"], towards: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
    """The normal, bent as little as it takes to face the viewer: n.v is at least 1e-4."""
    short = (GRAZING - dot(normal, towards)).clamp_min(0)
    return normalize(normal + short * towards)


def frame(normal: Float[Tensor, "*points 3"]) -> tuple[Float[Tensor, "*points 3"], Float[Tensor, "*points 3"]]:
    """Two unit vectors at right angles to the normal and each other (Duff et al., JCGT 6(1), 2017)."""
    x, y, z = normal.unbind(dim=-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(normal)
    a = -1 / (sign + z)
    b = x * y * a
    tangent = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], dim=-1)
    return tangent, torch.stack([b, sign + y * y * a, -y], dim=-1)


def spiral(count: int, device: torch.device | None = None) -> Float[Tensor, "count 2"]:
    """Points that fill the unit square evenly: `((i + 1/2) / count, frac(i / golden ratio))`."""
    index = torch.arange(count, dtype=torch.float64, device=device)
    return torch.stack([(index + 0.5) / count, (index * (math.sqrt(5) - 1) / 2) % 1], dim=-1).float()


def sample_half_vector(
    draw: Float[Tensor, "*#points 2"], width: Float[Tensor, "*#points 1"]
) -> Float[Tensor, "*#points 3"]:
    """Half-vectors around +z with density `D n.h`: `cos^2 = (1 - u) / (1 + (a^2 - 1) u)`, azimuth `2 pi u'`."""
    u, azimuth = draw[..., :1], 2 * math.pi * draw[..., 1:]
    square = ((1 - u) / (1 + (width.square() - 1) * u)).clamp(0, 1)
    sine = torch.sqrt(1 - square)
    return torch.cat([sine * azimuth.cos(), sine * azimuth.sin(), square.sqrt()], dim=-1)


def sample_cosine(draw: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 3"]:
    """Directions around +z with density `n.l / pi`: radius `sqrt(u)` on the disc, lifted to the sphere."""
    u, azimuth = draw[..., :1], 2 * math.pi * draw[..., 1:]
    return torch.cat([u.sqrt() * azimuth.cos(), u.sqrt() * azimuth.sin(), (1 - u).sqrt()], dim=-1)
