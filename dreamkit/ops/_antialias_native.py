"""Native silhouette antialiasing as a torch op, with its first derivative; the contract is in antialias.py."""

from typing import Any

import torch
from torch import Tensor

from dreamkit.ops import _library


@torch.library.custom_op("dreamkit::antialias", mutates_args=())
def antialias(
    projected: Tensor, image: Tensor, faces: Tensor, opposite: Tensor, triangle: Tensor, depth: Tensor, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The image, and each pair's weight and edge, `2 batch height width` (right neighbours, then lower ones)."""
    out, weight, edge = _empty(image)
    known = (projected, faces, opposite, triangle, depth, image, near)
    _library.run_kernel("antialias", *known, weight, edge, out)
    return out, weight, edge


def _empty(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    pairs = (2, *image.shape[:3])
    return image.new_empty(image.shape), image.new_empty(pairs), image.new_empty(pairs, dtype=torch.int64)


@torch.library.custom_op("dreamkit::antialias_vjp", mutates_args=())
def _antialias_vjp(
    projected: Tensor,
    image: Tensor,
    faces: Tensor,
    opposite: Tensor,
    triangle: Tensor,
    depth: Tensor,
    near: float,
    weight: Tensor,
    edge: Tensor,
    cotangent: Tensor,
) -> tuple[Tensor, Tensor]:
    of_projected = torch.zeros(projected.shape, dtype=projected.dtype, device=projected.device)
    of_image = image.new_empty(image.shape)
    known = (projected, faces, opposite, triangle, depth, image, near)
    _library.run_kernel("antialias_vjp", *known, weight, edge, cotangent, of_image, of_projected)
    return of_projected, of_image


@antialias.register_fake
def _(
    projected: Tensor, image: Tensor, faces: Tensor, opposite: Tensor, triangle: Tensor, depth: Tensor, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(image)


@_antialias_vjp.register_fake
def _(
    projected: Tensor,
    image: Tensor,
    faces: Tensor,
    opposite: Tensor,
    triangle: Tensor,
    depth: Tensor,
    near: float,
    weight: Tensor,
    edge: Tensor,
    cotangent: Tensor,
) -> tuple[Tensor, Tensor]:
    return projected.new_empty(projected.shape), image.new_empty(image.shape)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.near = inputs
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.save_for_backward(*tensors, output[1], output[2])


def _backward(ctx: Any, cotangent: Tensor, of_weight: Any, of_edge: Any) -> tuple:
    *tensors, weight, edge = ctx.saved_tensors
    of_projected, of_image = _antialias_vjp(*tensors, ctx.near, weight, edge, cotangent)
    return of_projected, of_image, None, None, None, None, None


antialias.register_autograd(_backward, setup_context=_save)
_antialias_vjp.register_autograd(_library.no_second("antialias"))
