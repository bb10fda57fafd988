"""Gaussian splatting: draw a cloud of Gaussians from each camera, sorted and composited front to back."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops import _gsplat, _library, _splat_native
from dreamkit.ops.disk_projection import DISK_ENTRIES, disk_power
from dreamkit.ops.splat_projection import LEAST_ALPHA, Footprints, project_reference
from dreamkit.ops.splat_tiles import TILE, Tiles, bin_tiles

MOST_ALPHA = 0.99
"One Gaussian never hides all that is behind it: the backward pass divides by 1 - alpha."
OPAQUE = 1e-4
"A pixel ends before its transmittance falls below this."


@dataclass(frozen=True)
class Splatted:
    """Images of a cloud of Gaussians, and where each of them fell."""

    accumulated: Float[Tensor, "batch height width channels"]
    "`sum_i w_i values_i`."
    alpha: Float[Tensor, "batch height width 1"]
    "`sum_i w_i = 1 - T_N`."
    centre: Float[Tensor, "batch gaussians 2"]
    "Projected centres, in pixels. After `centre.retain_grad()` its gradient is what density control reads."
    radius: Float[Tensor, "batch gaussians"]
    "Three standard deviations of the footprint, in pixels; 0 where nothing is drawn. Without gradient."


def splat(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 3"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    values: Float[Tensor, "batch gaussians channels"],
    cameras: Cameras,
    antialiased: bool = True,
    near: float = 0.2,
) -> Splatted:
    """Composite `values` (colour, depth, normal ...: any channels) of Gaussians `S = R(q) diag(s)^2 R(q)^T`.

    In each pixel p, nearest centre first: `alpha_i = min(0.99, o_i exp(-(u_i - p)^T S'_i^-1 (u_i - p) / 2))`,
    `w_i = T_i alpha_i`, `T_i = prod_{j < i} (1 - alpha_j)`, with u, S' from the EWA projection (`project_reference`).
    Contributions under 1/255 are left out, and a pixel ends before T falls under 1e-4. `scales` are standard deviations
    in scene units, `rotations` quaternions (w, x, y, z) of any length, `opacities` peak alphas; centres nearer than
    `near` are left out. Differentiable once in the first five. `antialiased` keeps what a Gaussian adds to the picture
    when it shrinks below a pixel; train and view with the same setting. Source: arXiv 2308.04079, card 6.2 to 6.4.
    Raises `ValueError` where shapes or types do not fit.
    """
    validate(means, scales, rotations, opacities, values, cameras, axes=3)
    arguments = (means, scales, rotations, opacities, values, cameras, antialiased, near)
    gsplat = _library.library("splat", means)
    if gsplat is not None:
        return Splatted(*_gsplat.splat(gsplat, *arguments))
    if _library.runs_native("splat", means.device):
        return Splatted(*_splat_native.splat(*arguments))
    return splat_reference(*arguments)


def splat_reference(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 3"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    values: Float[Tensor, "batch gaussians channels"],
    cameras: Cameras,
    antialiased: bool = True,
    near: float = 0.2,
) -> Splatted:
    """The images of `splat` in plain torch, tile by tile."""
    seen = project_reference(means, scales, rotations, opacities, cameras, antialiased, near)
    accumulated, alpha = blend_reference(seen, values, cameras.height, cameras.width)
    return Splatted(accumulated, alpha, seen.centre, seen.radius)


def blend_reference(
    seen: Footprints, values: Float[Tensor, "batch gaussians channels"], height: int, width: int, tile: int = TILE
) -> tuple[Float[Tensor, "batch height width channels"], Float[Tensor, "batch height width 1"]]:
    """Composite footprints over an image of any size; the size of the tiles changes nothing but the time."""
    tiles = bin_tiles(seen.centre, seen.reach, seen.radius, seen.depth, height, width, tile)
    batch, channels = len(values), values.shape[-1]
    flat = [part.flatten(0, 1) for part in (seen.centre, seen.shape, seen.opacity, values)]
    images = [_blend_tile(flat, tiles, index, tile) for index in range(batch * tiles.rows * tiles.columns)]
    blocks = torch.stack(images).view(batch, tiles.rows, tiles.columns, tile, tile, channels + 1)
    image = blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, tiles.rows * tile, tiles.columns * tile, channels + 1)
    image = image[:, :height, :width]
    return image[..., :-1], image[..., -1:]


def _blend_tile(
    flat: list[Float[Tensor, "splats ..."]], tiles: Tiles, index: int, side: int
) -> Float[Tensor, "pixels channels_and_alpha"]:
    """One tile: all its Gaussians against all its pixels; the last channel is alpha."""
    centre, shape, opacity, values = (part[tiles.members(index)] for part in flat)
    middle = torch.arange(side, dtype=centre.dtype, device=centre.device) + 0.5
    row, column = divmod(index % (tiles.rows * tiles.columns), tiles.columns)
    y, x = torch.meshgrid(middle + row * side, middle + column * side, indexing="ij")
    dx, dy = centre[:, :1] - x.reshape(1, -1), centre[:, 1:] - y.reshape(1, -1)
    power = disk_power(shape, -dx, -dy) if shape.shape[-1] == DISK_ENTRIES else _ellipse_power(shape, dx, dy)
    raw = opacity.unsqueeze(-1) * torch.exp(power)
    alpha = torch.where((raw >= LEAST_ALPHA) & (power <= 0), raw.clamp(max=MOST_ALPHA), 0.0)
    after = torch.cumprod(1 - alpha, dim=0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weight = alpha * before * (after >= OPAQUE)
    return torch.cat([weight.T @ values, weight.sum(dim=0).unsqueeze(-1)], dim=-1)


def _ellipse_power(shape: Float[Tensor, "splats 3"], dx: Tensor, dy: Tensor) -> Float[Tensor, "splats pixels"]:
    a, b, c = shape.unsqueeze(-1).unbind(dim=1)
    return -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy


def validate(
    means: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor, values: Tensor, cameras: Cameras, axes: int
) -> None:
    """Raise ValueError where shapes, types or devices do not fit together; a Gaussian has so many `axes`."""
    count, shapes = len(means), [tuple(tensor.shape) for tensor in (means, scales, rotations, opacities, values)]
    if shapes[:4] != [(count, 3), (count, axes), (count, 4), (count,)] or shapes[4][:2] != (len(cameras), count):
        raise ValueError(
            f"splat: means, scales, rotations, opacities, values have shapes {shapes} for {len(cameras)} cameras; "
            f"expected (n, 3), (n, {axes}), (n, 4), (n,) and (cameras, n, channels)"
        )
    if {tensor.dtype for tensor in (means, scales, rotations, opacities, values)} not in (
        {torch.float32},
        {torch.float64},
    ):
        types = [str(tensor.dtype) for tensor in (means, scales, rotations, opacities, values)]
        raise ValueError(f"splat: got {types}; expected all float32 or all float64 (under autocast, use .float())")
    if len({tensor.device for tensor in (means, scales, rotations, opacities, values, cameras.pose)}) != 1:
        raise ValueError("splat: the tensors and the cameras are on different devices; move them to one")
