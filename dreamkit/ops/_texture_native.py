"""Native texture look-up as a torch op, with its first derivative; the contract is in texture.py."""

from typing import Any

import torch
from torch import Tensor

from dreamkit.ops import _library


@torch.library.custom_op("dreamkit::texture", mutates_args=())
def texture(texels: Tensor, levels: Tensor, uv: Tensor, level: Tensor | None) -> Tensor:
    """`levels`: first texel, rows and columns of each level in `texels`."""
    found = texels.new_empty(len(uv), texels.shape[1])
    _library.run_kernel("texture", texels, levels, uv, level, found)
    return found


@torch.library.custom_op("dreamkit::texture_vjp", mutates_args=())
def _texture_vjp(
    texels: Tensor, levels: Tensor, uv: Tensor, level: Tensor | None, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    of_texels = torch.zeros(texels.shape, dtype=texels.dtype, device=texels.device)
    of_uv = uv.new_empty(uv.shape)
    _library.run_kernel("texture_vjp", texels, levels, uv, level, cotangent, of_texels, of_uv)
    return of_texels, of_uv


@texture.register_fake
def _(texels: Tensor, levels: Tensor, uv: Tensor, level: Tensor | None) -> Tensor:
    return texels.new_empty(uv.shape[0], texels.shape[1])


@_texture_vjp.register_fake
def _(texels: Tensor, levels: Tensor, uv: Tensor, level: Tensor | None, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    return texels.new_empty(texels.shape), uv.new_empty(uv.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, cotangent: Tensor) -> tuple:
    of_texels, of_uv = _texture_vjp(*ctx.saved_tensors, cotangent)
    return of_texels, None, of_uv, None


texture.register_autograd(_backward, setup_context=_save)
_texture_vjp.register_autograd(_library.no_second("sample_texture"))
