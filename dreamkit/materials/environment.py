"""Environment maps: linear light from every direction, as images of longitude and latitude.

A map's middle column looks along +X, columns grow towards +Z (seen from inside, to the right), and its top row is +Y:
`u = 1/2 + atan2(z, x) / (2 pi)`, `v = acos(y) / pi`. This is how three.js and other glTF viewers read .hdr files.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def texel_directions(rows: int, device: torch.device | None = None) -> Float[Tensor, "rows columns 3"]:
    """Unit direction through the middle of each texel of a map of `rows` by `2 rows`."""
    polar = (torch.arange(rows, device=device) + 0.5) * (math.pi / rows)
    around = (torch.arange(2 * rows, device=device) + 0.5) * (math.pi / rows) - math.pi
    polar, around = torch.meshgrid(polar, around, indexing="ij")
    return torch.stack([polar.sin() * around.cos(), polar.cos(), polar.sin() * around.sin()], dim=-1)


def texel_areas(rows: int, device: torch.device | None = None) -> Float[Tensor, " rows"]:
    """Solid angle of a texel in each row, steradians: exactly `(pi / rows) (cos v0 - cos v1)`; all sum to 4 pi."""
    edges = torch.arange(rows + 1, dtype=torch.float64, device=device) * (math.pi / rows)
    return (edges.cos()[:-1] - edges.cos()[1:]).mul(math.pi / rows).float()


def turned(directions: Float[Tensor, "*points 3"], turn: Float[Tensor, "*points"]) -> Float[Tensor, "*points 3"]:
    """Directions in the frame of an environment that was turned by `turn` degrees about +Y, as a camera orbits."""
    angle = torch.deg2rad(turn)
    x, y, z = directions.unbind(dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], dim=-1)


def look_up(
    maps: Float[Tensor, "maps rows columns channels"],
    which: Int[Tensor, "*points"],
    directions: Float[Tensor, "*points 3"],
) -> Float[Tensor, "*points channels"]:
    """Bilinear value of map `which` in each direction; columns wrap around, rows end at the poles."""
    rows, columns, channels = maps.shape[1:]
    x, y, z = directions.unbind(dim=-1)
    # Straight up and down there is no longitude, and atan2(0, 0) has no gradient.
    pole = x * x + z * z < 1e-12
    longitude = torch.atan2(torch.where(pole, 0, z), torch.where(pole, 1, x))
    column = (0.5 + longitude / (2 * math.pi)) * columns - 0.5
    row = (torch.acos(y.clamp(-1 + 1e-6, 1 - 1e-6)) / math.pi * rows - 0.5).clamp(0, rows - 1)
    left, top = column.floor(), row.floor().clamp_max(rows - 2 if rows > 1 else 0)
    across, down = (column - left).unsqueeze(-1), (row - top).unsqueeze(-1)
    left, first = left.long() % columns, (which * rows + top.long()) * columns
    right, below = (left + 1) % columns, first + (columns if rows > 1 else 0)
    texels = maps.reshape(-1, channels)
    upper = texels[first + left] * (1 - across) + texels[first + right] * across
    lower = texels[below + left] * (1 - across) + texels[below + right] * across
    return upper * (1 - down) + lower * down


def resized(radiance: Float[Tensor, "height width 3"], rows: int) -> Float[Tensor, "rows columns 3"]:
    """The map with `rows` by `2 rows` texels, each the mean of what it covers (bilinear where it grows)."""
    if radiance.shape[:2] == (rows, 2 * rows):
        return radiance
    image = radiance.permute(2, 0, 1)[None]
    if radiance.shape[0] >= rows and radiance.shape[1] >= 2 * rows:
        small = F.adaptive_avg_pool2d(image, (rows, 2 * rows))
    else:
        small = F.interpolate(image, (rows, 2 * rows), mode="bilinear", align_corners=False)
    return small[0].permute(1, 2, 0).contiguous()
