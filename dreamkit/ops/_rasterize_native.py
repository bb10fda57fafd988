"""Native rasterising and interpolating as torch ops, with their first derivatives; the contract is in rasterize.py."""

from typing import Any

import torch
from torch import Tensor

from dreamkit.ops import _library


@torch.library.custom_op("dreamkit::rasterize", mutates_args=())
def rasterize(
    projected: Tensor, faces: Tensor, height: int, width: int, near: float, cull: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Barycentric, depth and triangle; `projected` are pixel coordinates and depths, `batch vertices 3`."""
    barycentric, depth, triangle = _empty_fragments(projected, height, width)
    _library.run_kernel("rasterize", projected, faces, near, cull, triangle, barycentric, depth)
    return barycentric, depth, triangle


def _empty_fragments(projected: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = projected.shape[0], height, width
    triangle = projected.new_empty(shape, dtype=torch.int64)
    return projected.new_empty(*shape, 3), projected.new_empty(*shape, 1), triangle


@torch.library.custom_op("dreamkit::rasterize_vjp", mutates_args=())
def _rasterize_vjp(
    projected: Tensor, faces: Tensor, triangle: Tensor, of_barycentric: Tensor, of_depth: Tensor
) -> Tensor:
    gradient = torch.zeros(projected.shape, dtype=projected.dtype, device=projected.device)
    _library.run_kernel("rasterize_vjp", projected, faces, triangle, of_barycentric, of_depth, gradient)
    return gradient


@torch.library.custom_op("dreamkit::interpolate", mutates_args=())
def interpolate(attribute: Tensor, faces: Tensor, triangle: Tensor, barycentric: Tensor) -> Tensor:
    """`sum_i b_i A_i`, `batch height width channels`."""
    image = attribute.new_empty(*triangle.shape, attribute.shape[1])
    _library.run_kernel("interpolate", attribute, faces, triangle, barycentric, image)
    return image


@torch.library.custom_op("dreamkit::interpolate_vjp", mutates_args=())
def _interpolate_vjp(
    attribute: Tensor, faces: Tensor, triangle: Tensor, barycentric: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    of_attribute = torch.zeros(attribute.shape, dtype=attribute.dtype, device=attribute.device)
    of_barycentric = barycentric.new_empty(barycentric.shape)
    tensors = (attribute, faces, triangle, barycentric, cotangent, of_attribute, of_barycentric)
    _library.run_kernel("interpolate_vjp", *tensors)
    return of_attribute, of_barycentric


@rasterize.register_fake
def _(
    projected: Tensor, faces: Tensor, height: int, width: int, near: float, cull: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_fragments(projected, height, width)


@_rasterize_vjp.register_fake
def _(projected: Tensor, faces: Tensor, triangle: Tensor, of_barycentric: Tensor, of_depth: Tensor) -> Tensor:
    return projected.new_empty(projected.shape)


@interpolate.register_fake
def _(attribute: Tensor, faces: Tensor, triangle: Tensor, barycentric: Tensor) -> Tensor:
    return attribute.new_empty(*triangle.shape, attribute.shape[1])


@_interpolate_vjp.register_fake
def _(
    attribute: Tensor, faces: Tensor, triangle: Tensor, barycentric: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    return attribute.new_empty(attribute.shape), barycentric.new_empty(barycentric.shape)


def _save_projected(ctx: Any, inputs: tuple, output: tuple) -> None:
    projected, faces, *_ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(projected, faces, output[2])


def _rasterize_backward(ctx: Any, of_barycentric: Tensor, of_depth: Tensor, of_triangle: Any) -> tuple:
    return _rasterize_vjp(*ctx.saved_tensors, of_barycentric, of_depth), None, None, None, None, None


def _save_attribute(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _interpolate_backward(ctx: Any, cotangent: Tensor) -> tuple:
    of_attribute, of_barycentric = _interpolate_vjp(*ctx.saved_tensors, cotangent)
    return of_attribute, None, None, of_barycentric


rasterize.register_autograd(_rasterize_backward, setup_context=_save_projected)
_rasterize_vjp.register_autograd(_library.no_second("rasterize"))
interpolate.register_autograd(_interpolate_backward, setup_context=_save_attribute)
_interpolate_vjp.register_autograd(_library.no_second("interpolate"))
