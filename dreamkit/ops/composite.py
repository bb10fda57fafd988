"""Volume rendering along rays: weights from densities, and what the weights add up."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.ops import _library, _nerfacc


@dataclass(frozen=True)
class Composited:
    """What each ray gathers from its samples."""

    weights: Float[Tensor, " samples"]
    "`w_i = T_i alpha_i`."
    accumulated: Float[Tensor, "rays channels"]
    "`sum_i w_i values_i`."
    alpha: Float[Tensor, " rays"]
    "`sum_i w_i = 1 - T_N`."
    depth: Float[Tensor, " rays"] | None
    "`sum_i w_i distance_i` (divide by alpha for the expected distance); None where no distance was given."


def composite_reference(
    density: Float[Tensor, " samples"],
    length: Float[Tensor, " samples"],
    values: Float[Tensor, "samples channels"],
    offsets: Int[Tensor, " rays_and_one"],
    distance: Float[Tensor, " samples"] | None = None,
    stop: float = 0.0,
) -> Composited:
    """The sums of `composite` in plain torch, on rays padded to the longest one."""
    count = offsets[1:] - offsets[:-1]
    most = int(count.max().item()) if len(count) else 0
    k = torch.arange(most, device=density.device)
    real = k < count.unsqueeze(1)
    ray = torch.repeat_interleave(torch.arange(len(count), device=density.device), count)
    optical = density.new_zeros(real.shape).masked_scatter(real, density * length)
    # Shifted, rather than the sum minus its last term: infinite density would give inf - inf.
    passed = torch.cat([torch.zeros_like(optical[:, :1]), optical.cumsum(dim=1)[:, :-1]], dim=1)
    transmittance = torch.exp(-passed)
    weights = (-torch.expm1(-optical) * transmittance * ~(transmittance < stop))[real]
    gathered = weights.unsqueeze(1) * values
    accumulated = values.new_zeros(len(count), values.shape[1]).index_add(0, ray, gathered)
    alpha = density.new_zeros(len(count)).index_add(0, ray, weights)
    depth = None if distance is None else density.new_zeros(len(count)).index_add(0, ray, weights * distance)
    return Composited(weights, accumulated, alpha, depth)


def composite(
    density: Float[Tensor, " samples"],
    length: Float[Tensor, " samples"],
    values: Float[Tensor, "samples channels"],
    offsets: Int[Tensor, " rays_and_one"],
    distance: Float[Tensor, " samples"] | None = None,
    stop: float = 0.0,
) -> Composited:
    """Composite packed samples along their rays: `alpha_i = 1 - exp(-density_i length_i)`, `w_i = T_i alpha_i`.

    `T_i = prod_{j < i} (1 - alpha_j)` runs over the samples `offsets[r]` to `offsets[r + 1]` of ray r, nearest first;
    the values may have any number of channels (colour, normal, ... in one call). Differentiable once in density and
    values, from every output; length and distance are constants. With `stop` > 0 (nerfacc uses 1e-4), samples behind
    `T_i < stop` get no weight and no gradient: faster, and wrong by less than `stop`, so leave it at 0 in training.
    Source: Max 1995 as in arXiv 2003.08934, equation 3; card 5.10. Raises `ValueError` where shapes or types do not fit
    or a constant asks for a gradient.
    """
    _validate(density, length, values, offsets, distance)
    nerfacc = _library.library("composite", density)
    if nerfacc is not None and len(density):
        return Composited(*_nerfacc.composite(nerfacc, density, length, values, offsets, distance, stop))
    if not _library.runs_native("composite", density.device):
        return composite_reference(density, length, values, offsets, distance, stop)
    weights, _, accumulated, alpha, depth = _composite(density, length, values, offsets, distance, stop)
    return Composited(weights, accumulated, alpha, None if distance is None else depth)


def _validate(density: Tensor, length: Tensor, values: Tensor, offsets: Tensor, distance: Tensor | None) -> None:
    constants = [length] if distance is None else [length, distance]
    if density.ndim != 1 or values.ndim != 2 or len({len(t) for t in (density, values, *constants)}) != 1:
        shapes = [tuple(tensor.shape) for tensor in (density, values, *constants)]
        raise ValueError(
            f"composite: density, values, length (and distance) have shapes {shapes}; expected (samples,) "
            "and (samples, channels) for values"
        )
    if {tensor.dtype for tensor in (density, values, *constants)} not in ({torch.float32}, {torch.float64}):
        types = [str(tensor.dtype) for tensor in (density, values, *constants)]
        raise ValueError(f"composite: got {types}; expected all float32 or all float64 (under autocast, use .float())")
    if offsets.ndim != 1 or offsets.dtype != torch.int64 or len(offsets) == 0:
        raise ValueError(
            f"composite: offsets are {offsets.dtype} of shape {tuple(offsets.shape)}; expected int64 (rays + 1,)"
        )
    if len({tensor.device for tensor in (density, values, offsets, *constants)}) != 1:
        raise ValueError("composite: the tensors are on different devices; move them to one")
    if any(tensor.requires_grad for tensor in constants):
        raise ValueError("composite: length and distance have no gradient; pass them detached")


@torch.library.custom_op("dreamkit::composite", mutates_args=())
def _composite(
    density: Tensor, length: Tensor, values: Tensor, offsets: Tensor, distance: Tensor | None, stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    rays = len(offsets) - 1
    weights, after = torch.empty_like(density), torch.empty_like(density)
    accumulated, alpha = density.new_empty(rays, values.shape[1]), density.new_empty(rays)
    # Zeros: a distance without samples has no address, and the kernel then takes it for None.
    depth = density.new_zeros(0 if distance is None else rays)
    with _library.on_device(density):
        samples = (_plain(density), _plain(length), _plain(values), _plain(distance), _plain(offsets), stop)
        gathered = (weights, after, accumulated, alpha, depth)
        _library.kernels().composite(*samples, *gathered, *_library.launch(density))
    return weights, after, accumulated, alpha, depth


@torch.library.custom_op("dreamkit::composite_vjp", mutates_args=())
def _composite_vjp(
    density: Tensor,
    length: Tensor,
    values: Tensor,
    offsets: Tensor,
    distance: Tensor | None,
    stop: float,
    forward: list[Tensor],
    cotangents: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """`forward`: weights and after; `cotangents`: of weights, accumulated, alpha and depth."""
    gradients = torch.empty_like(density), torch.empty(values.shape, dtype=values.dtype, device=values.device)
    with _library.on_device(density):
        samples = (_plain(density), _plain(length), _plain(values), _plain(distance), _plain(offsets), stop)
        known = [_plain(tensor) for tensor in (*forward, *cotangents)]
        _library.kernels().composite_vjp(*samples, *known, *gradients, *_library.launch(density))
    return gradients


def _plain(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


@_composite.register_fake
def _(
    density: Tensor, length: Tensor, values: Tensor, offsets: Tensor, distance: Tensor | None, stop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    rays = offsets.shape[0] - 1
    weights, after = torch.empty_like(density), torch.empty_like(density)
    accumulated, alpha = density.new_empty(rays, values.shape[1]), density.new_empty(rays)
    return weights, after, accumulated, alpha, density.new_empty(0 if distance is None else rays)


@_composite_vjp.register_fake
def _(
    density: Tensor,
    length: Tensor,
    values: Tensor,
    offsets: Tensor,
    distance: Tensor | None,
    stop: float,
    forward: list[Tensor],
    cotangents: list[Tensor],
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(density), torch.empty(values.shape, dtype=values.dtype, device=values.device)


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.stop = inputs
    weights, after, *_ = output
    ctx.save_for_backward(*tensors, weights, after)


def _backward(
    ctx: Any, of_weights: Tensor, of_after: Tensor, of_accumulated: Tensor, of_alpha: Tensor, of_depth: Tensor
) -> tuple:
    *tensors, weights, after = ctx.saved_tensors
    cotangents = [of_weights, of_accumulated, of_alpha, of_depth]
    density, values = _composite_vjp(*tensors, ctx.stop, [weights, after], cotangents)
    return density, None, values, None, None, None


_composite.register_autograd(_backward, setup_context=_setup)
_composite_vjp.register_autograd(_library.no_second("composite"))
