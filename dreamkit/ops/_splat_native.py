"""The native splatting as torch ops, with their derivatives; the contract is in splat.py.

Two ops: `project` makes footprints, `blend` composites them. What lies between (sorting footprints into tiles) has no
derivative.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops import _library
from dreamkit.ops.splat_projection import Footprints, camera_frames
from dreamkit.ops.splat_tiles import TILE, Tiles, bin_tiles, tile_boxes

MOMENTS = {3: 5, 7: 11}
"Sums over pixels that the gradient of a footprint's shape and centre follows from, by the entries of the shape."


def splat(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    values: Tensor,
    cameras: Cameras,
    antialiased: bool,
    near: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Accumulated values, alpha, centres and radii."""
    lens = [float(cameras.width), float(cameras.height), near, float(antialiased)]
    frames = camera_frames(cameras, means.dtype)
    seen = Footprints(*project(means, scales, rotations, opacities, *frames, lens))
    accumulated, alpha = composite(seen, values, cameras.height, cameras.width)
    return accumulated, alpha, seen.centre, seen.radius


def composite(seen: Footprints, values: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Accumulated values and alpha of footprints, ellipses or disks."""
    tiles = _tiles(seen.centre, seen.reach, seen.radius, seen.depth, height, width)
    sizes = [len(values), tiles.rows, tiles.columns, height, width]
    lists = (tiles.starts, tiles.splat, tiles.slot, tiles.offsets)
    accumulated, through, _ = blend(seen.centre, seen.shape, seen.opacity, seen.reach, values, *lists, sizes)
    return accumulated, (1 - through).unsqueeze(-1)


@torch.no_grad()
def _tiles(centre: Tensor, reach: Tensor, radius: Tensor, depth: Tensor, height: int, width: int) -> Tiles:
    if centre.is_cuda:
        return bin_tiles(centre, reach, radius, depth, height, width)
    batch, gaussians = depth.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    box = tile_boxes(centre, reach, radius, height, width).view(-1, 4)
    offsets = torch.nn.functional.pad((box[:, 2] * box[:, 3]).cumsum(dim=0), (1, 0))
    starts = offsets.new_empty(batch * rows * columns + 1)
    splat, slot = (offsets.new_empty(int(offsets[-1])) for _ in range(2))
    _library.kernels().splat_sort(depth, box, offsets, [batch, gaussians, rows, columns], [starts, splat, slot])
    return Tiles(starts, splat, slot, offsets, rows, columns)


@torch.library.custom_op("dreamkit::splat_project", mutates_args=())
def project(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    rotation: Tensor,
    translation: Tensor,
    focal: Tensor,
    lens: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centre, shape, opacity, depth, reach and radius; `lens` is width, height, near, antialiased."""
    seen = _footprints(means, focal)
    with _library.on_device(means):
        cloud = [_plain(tensor) for tensor in (means, scales, rotations, opacities, rotation, translation, focal)]
        _library.kernels().splat_project(cloud, list(lens), list(seen), *_library.launch(means))
    return seen


@torch.library.custom_op("dreamkit::splat_project_vjp", mutates_args=())
def project_vjp(
    cloud: Sequence[Tensor], lens: Sequence[float], cotangents: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of means, scales, rotations and opacities; `cotangents`: of centre, shape and opacity."""
    plain = [_plain(tensor) for tensor in cloud]
    gradients = _like(plain[:4])
    with _library.on_device(plain[0]):
        known = [_plain(tensor) for tensor in cotangents]
        _library.kernels().splat_project_vjp(plain, list(lens), known, list(gradients), *_library.launch(plain[0]))
    return gradients


@torch.library.custom_op("dreamkit::splat_blend", mutates_args=())
def blend(
    centre: Tensor,
    shape: Tensor,
    opacity: Tensor,
    reach: Tensor,
    values: Tensor,
    starts: Tensor,
    splat: Tensor,
    slot: Tensor,
    offsets: Tensor,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Accumulated values, transmittance, and for each pixel the pairs of its tile up to the last that counted."""
    picture = _picture(values, sizes)
    with _library.on_device(centre):
        painting = [_plain(tensor) for tensor in (centre, shape, opacity, reach, values)]
        _library.kernels().splat_blend(
            painting, [starts, splat, slot], list(sizes), list(picture), *_library.launch(centre)
        )
    return picture


@torch.library.custom_op("dreamkit::splat_blend_vjp", mutates_args=())
def blend_vjp(
    painting: Sequence[Tensor], tiles: Sequence[Tensor], sizes: Sequence[int], cotangents: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of centre, shape, opacity and values; `cotangents`: of accumulated and alpha, then through and last."""
    plain = [_plain(tensor) for tensor in painting]
    centre, shape, opacity, _, values = plain
    gradients = _like([centre, shape, opacity, values])
    starts, splat, slot, offsets = tiles
    sums = MOMENTS[shape.shape[-1]] + 1 + values.shape[-1]
    with _library.on_device(centre):
        partial = centre.new_empty(len(splat), sums)
        known = [_plain(tensor) for tensor in cotangents]
        _library.kernels().splat_blend_vjp(
            *(plain, [starts, splat, slot], list(sizes), known, offsets, partial, list(gradients)),
            *_library.launch(centre),
        )
    return gradients


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous()


def _like(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # Not empty_like: that keeps the strides of an expanded tensor.
    a, b, c, d = (tensor.new_empty(tensor.shape) for tensor in tensors)
    return a, b, c, d


def _footprints(means: Tensor, focal: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    splats = focal.shape[0], means.shape[0]
    flat = [means.new_empty(splats) for _ in range(3)]
    centre, reach, shape = (means.new_empty(*splats, size) for size in (2, 2, 3))
    return centre, shape, flat[0], flat[1], reach, flat[2]


def _picture(values: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    image = sizes[0], sizes[3], sizes[4]
    through, last = values.new_empty(image), values.new_empty(image, dtype=torch.int32)
    return values.new_empty(*image, values.shape[-1]), through, last


@project.register_fake
def _(means, scales, rotations, opacities, rotation, translation, focal, lens):
    return _footprints(means, focal)


@project_vjp.register_fake
def _(cloud, lens, cotangents):
    return _like(cloud[:4])


@blend.register_fake
def _(centre, shape, opacity, reach, values, starts, splat, slot, offsets, sizes):
    return _picture(values, sizes)


@blend_vjp.register_fake
def _(painting, tiles, sizes, cotangents):
    centre, shape, opacity, _, values = painting
    return _like([centre, shape, opacity, values])


def _project_setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.lens = inputs
    ctx.save_for_backward(*tensors)


def _project_backward(ctx: Any, *cotangents: Tensor) -> tuple:
    return *project_vjp(list(ctx.saved_tensors), ctx.lens, list(cotangents[:3])), None, None, None, None


def _blend_setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.sizes = inputs
    _, through, last = output
    ctx.mark_non_differentiable(last)
    ctx.save_for_backward(*tensors, through, last)


def _blend_backward(ctx: Any, of_accumulated: Tensor, of_through: Tensor, of_last: Tensor) -> tuple:
    *tensors, through, last = ctx.saved_tensors
    known = [of_accumulated, -of_through, through, last]
    centre, shape, opacity, values = blend_vjp(tensors[:5], tensors[5:], ctx.sizes, known)
    return centre, shape, opacity, None, values, None, None, None, None, None


def _no_second(ctx: Any, *cotangents: Tensor) -> tuple:
    raise RuntimeError(
        "splat: the native kernels have a first derivative, and this asks for a second; "
        "call splat_reference, or set DREAMKIT_BACKEND=reference"
    )


project.register_autograd(_project_backward, setup_context=_project_setup)
blend.register_autograd(_blend_backward, setup_context=_blend_setup)
project_vjp.register_autograd(_no_second)
blend_vjp.register_autograd(_no_second)
