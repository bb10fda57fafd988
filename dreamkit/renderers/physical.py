"""Light on images of a surface that has been rasterised already."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.materials.ggx import Reflectance
from dreamkit.materials.illumination import Illumination, illuminate
from dreamkit.ops.tangents import tangent_frame
from dreamkit.vectors import decode_srgb, encode_srgb, normalize


def bend_normals(
    normal: Float[Tensor, "*pixels 3"], tangent: Float[Tensor, "*pixels 4"], texel: Float[Tensor, "*pixels 3"]
) -> Float[Tensor, "*pixels 3"]:
    """World normals that a normal map asks for: `normalize(t x + b y + n z)`, (x, y, z) = 2 texel - 1."""
    bent = (2 * texel - 1).unsqueeze(-2) @ tangent_frame(normal, tangent)
    return normalize(bent.squeeze(-2))


def shade_pixels(
    color: Float[Tensor, "*pixels 3"],
    orm: Float[Tensor, "*pixels 3"],
    position: Float[Tensor, "*pixels 3"],
    normal: Float[Tensor, "*pixels 3"],
    towards: Float[Tensor, "*pixels 3"],
    view: Int[Tensor, "*pixels"],
    light: Illumination,
) -> Float[Tensor, "*pixels 3"]:
    """Display colour of a metallic-roughness surface: split-sum, occlusion times all of it, cut to [0, 1], encoded.

    `color` is display colour; `orm` holds occlusion, roughness and metallic.
    """
    flat = [value.reshape(-1, 3) for value in (color, orm, position, normal, towards)]
    color, orm, position, normal, towards = flat
    surface = Reflectance(decode_srgb(color), orm[:, 2:], orm[:, 1:2])
    shown = illuminate(surface, position, normal, towards, view.reshape(-1), light) * orm[:, :1]
    return encode_srgb(shown.clamp(0, 1)).view(*view.shape, 3)


def constant_orm(roughness: float, metallic: float, like: Float[Tensor, "*pixels 3"]) -> Float[Tensor, "*pixels 3"]:
    """Occlusion 1 and two numbers, everywhere."""
    return torch.stack([torch.ones_like(like[..., 0]) * value for value in (1.0, roughness, metallic)], dim=-1)
