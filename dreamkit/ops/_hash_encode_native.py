"""The native hash encoding as torch ops, with their derivatives; the contract is in hash_encode.py.

There are three loops, and each derivative is one of them again: `encode` reads the table, `table_gradient` writes it,
`points_gradient` reads it for a vector in point space. With a `direction` v they use `v . grad(weight)` in place of the
weight; that is as far as the kernels go, so a third derivative raises `RuntimeError`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dreamkit.ops import _library
from dreamkit.ops.hash_levels import HashLevels


def pack(levels: HashLevels, active: int) -> tuple[list[int], float]:
    """The pyramid as plain numbers, which is what a torch op accepts."""
    sizes = [levels.levels, levels.features, levels.log2_table_size, levels.base, int(levels.smoothstep), active]
    return sizes, levels.growth


@lru_cache(maxsize=64)
def _unpack(sizes: tuple[int, ...], growth: float) -> tuple[HashLevels, Any]:
    """The pyramid again, and the same for the compiled module."""
    levels, features, log2_table_size, base, smoothstep, _ = sizes
    pyramid = HashLevels(levels, features, log2_table_size, base, growth, bool(smoothstep))
    sides, dense = list(pyramid.resolutions), list(pyramid.dense)
    offsets, scales = list(pyramid.offsets), list(pyramid.scales)
    return pyramid, _library.kernels().Pyramid.make(scales, offsets, sides, dense, features, bool(smoothstep))


@torch.library.custom_op("dreamkit::hash_encode", mutates_args=())
def encode(points: Tensor, table: Tensor, direction: Tensor | None, sizes: Sequence[int], growth: float) -> Tensor:
    levels, pyramid = _unpack(tuple(sizes), growth)
    encoded = points.new_empty(len(points), levels.channels)
    with _library.on_device(points):
        _library.kernels().encode(
            _plain(points), _plain(table), _plain(direction), encoded, pyramid, sizes[-1], *_library.launch(points)
        )
    return encoded


@torch.library.custom_op("dreamkit::hash_encode_table_gradient", mutates_args=())
def table_gradient(
    points: Tensor, direction: Tensor | None, cotangent: Tensor, sizes: Sequence[int], growth: float
) -> Tensor:
    levels, pyramid = _unpack(tuple(sizes), growth)
    gradient = points.new_zeros(levels.entries, levels.features)
    with _library.on_device(points):
        _library.kernels().table_gradient(
            _plain(points), _plain(direction), _plain(cotangent), gradient, pyramid, sizes[-1], *_library.launch(points)
        )
    return gradient


@torch.library.custom_op("dreamkit::hash_encode_points_gradient", mutates_args=())
def points_gradient(
    points: Tensor, table: Tensor, direction: Tensor | None, cotangent: Tensor, sizes: Sequence[int], growth: float
) -> Tensor:
    _, pyramid = _unpack(tuple(sizes), growth)
    gradient = points.new_empty(points.shape)
    with _library.on_device(points):
        _library.kernels().points_gradient(
            *(_plain(points), _plain(table), _plain(direction), _plain(cotangent)),
            *(gradient, pyramid, sizes[-1], *_library.launch(points)),
        )
    return gradient


def _plain(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


@encode.register_fake
def _(points: Tensor, table: Tensor, direction: Tensor | None, sizes: Sequence[int], growth: float) -> Tensor:
    return points.new_empty(points.shape[0], sizes[0] * sizes[1])


@table_gradient.register_fake
def _(points: Tensor, direction: Tensor | None, cotangent: Tensor, sizes: Sequence[int], growth: float) -> Tensor:
    levels, features, log2_table_size, base, smoothstep, _ = sizes
    pyramid = HashLevels(levels, features, log2_table_size, base, growth, bool(smoothstep))
    return points.new_empty(pyramid.entries, pyramid.features)


@points_gradient.register_fake
def _(
    points: Tensor, table: Tensor, direction: Tensor | None, cotangent: Tensor, sizes: Sequence[int], growth: float
) -> Tensor:
    return points.new_empty(points.shape)


def _encode_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    points, table, direction, *ctx.pyramid = inputs
    ctx.directed = direction is not None
    ctx.save_for_backward(points, table)


def _encode_backward(ctx: Any, cotangent: Tensor) -> tuple:
    _refuse_third(ctx.directed)
    points, table = ctx.saved_tensors
    of_points, of_table, *_ = ctx.needs_input_grad
    return (
        points_gradient(points, table, None, cotangent, *ctx.pyramid) if of_points else None,
        table_gradient(points, None, cotangent, *ctx.pyramid) if of_table else None,
        *(None, None, None),
    )


def _table_gradient_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    points, direction, cotangent, *ctx.pyramid = inputs
    ctx.directed = direction is not None
    ctx.save_for_backward(points, cotangent)


def _table_gradient_backward(ctx: Any, vector: Tensor) -> tuple:
    _refuse_third(ctx.directed)
    points, cotangent = ctx.saved_tensors
    of_points, _, of_cotangent, *_ = ctx.needs_input_grad
    return (
        points_gradient(points, vector, None, cotangent, *ctx.pyramid) if of_points else None,
        None,
        encode(points, vector, None, *ctx.pyramid) if of_cotangent else None,
        *(None, None),
    )


def _points_gradient_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    points, table, direction, cotangent, *ctx.pyramid = inputs
    ctx.directed = direction is not None
    ctx.save_for_backward(points, table, cotangent)


def _points_gradient_backward(ctx: Any, vector: Tensor) -> tuple:
    _refuse_third(ctx.directed)
    points, table, cotangent = ctx.saved_tensors
    of_points, of_table, _, of_cotangent, *_ = ctx.needs_input_grad
    return (
        points_gradient(points, table, vector, cotangent, *ctx.pyramid) if of_points else None,
        table_gradient(points, vector, cotangent, *ctx.pyramid) if of_table else None,
        None,
        encode(points, table, vector, *ctx.pyramid) if of_cotangent else None,
        *(None, None),
    )


def _refuse_third(directed: bool) -> None:
    if directed:
        raise RuntimeError(
            "hash_encode: the native kernels have first and second derivatives, and this asks for a third; "
            "call hash_encode_reference, or set DREAMKIT_BACKEND=reference"
        )


encode.register_autograd(_encode_backward, setup_context=_encode_setup)
table_gradient.register_autograd(_table_gradient_backward, setup_context=_table_gradient_setup)
points_gradient.register_autograd(_points_gradient_backward, setup_context=_points_gradient_setup)
