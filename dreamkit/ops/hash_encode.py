"""Multi-resolution hash encoding (Instant-NGP): trilinear look-ups in a pyramid of small feature tables."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.ops import _hash_encode_native, _library, _tinycudann
from dreamkit.ops.hash_levels import HashLevels

_CORNERS = tuple((corner & 1, corner >> 1 & 1, corner >> 2) for corner in range(8))
_PRIMES = (1, 2654435761, 805459861)


def hash_encode_reference(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries features"],
    levels: HashLevels,
    active_levels: int | None = None,
) -> Float[Tensor, "points channels"]:
    """The encoding of `hash_encode` in plain torch: any device, any float type, differentiable any number of times."""
    active = levels.levels if active_levels is None else active_levels
    inside = points.clamp(0, 1)
    encoded = [_encode_level(inside, table, levels, level) for level in range(active)]
    silent = points.new_zeros(len(points), (levels.levels - active) * levels.features)
    return torch.cat([*encoded, silent], dim=-1)


def _encode_level(
    points: Float[Tensor, "points 3"], table: Float[Tensor, "entries features"], levels: HashLevels, level: int
) -> Float[Tensor, "points features"]:
    position = points * levels.scales[level] + 0.5
    cell = position.detach().floor()
    upper = position - cell
    if levels.smoothstep:
        upper = upper * upper * (3 - 2 * upper)
    corners = torch.tensor(_CORNERS, device=points.device)
    share = torch.where(corners.bool(), upper.unsqueeze(1), 1 - upper.unsqueeze(1))
    weight = share[..., 0] * share[..., 1] * share[..., 2]
    entry = levels.offsets[level] + _entry(cell.long().unsqueeze(1) + corners, levels, level)
    return (weight.unsqueeze(-1) * table[entry]).sum(dim=1)


def _entry(vertex: Int[Tensor, "points 8 3"], levels: HashLevels, level: int) -> Int[Tensor, "points 8"]:
    """Entry of a vertex inside its level."""
    x, y, z = vertex.unbind(dim=-1)
    if levels.dense[level]:
        side = levels.resolutions[level]
        # A point on the far faces can touch vertex number `side`: as in tiny-cuda-nn it wraps around.
        return (x + side * (y + side * z)) % levels.sizes[level]
    # The table size is a power of two, so the low bits of this 64-bit product are those of the 32-bit one.
    return (x * _PRIMES[0] ^ y * _PRIMES[1] ^ z * _PRIMES[2]) & (levels.sizes[level] - 1)


def hash_encode(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries features"],
    levels: HashLevels,
    active_levels: int | None = None,
) -> Float[Tensor, "points channels"]:
    """Encode points of the unit cube: at each level, blend the features of the cell's eight corners.

    With `p = x scale_l + 0.5` and `s = p - floor(p)` (or its smoothstep), level `l` gives
    `sum_c [prod_i (s_i if c_i else 1 - s_i)] table[entry_l(floor(p) + c)]`, where a dense level numbers its vertices
    and a hashed one takes `(x ^ 2654435761 y ^ 805459861 z) mod size` (arXiv 2201.05989, section 3; card 5.2).
    The output holds the levels one after the other; those from `active_levels` on are zero and cost nothing.

    Points outside the cube are moved to its surface, with a zero gradient there; NaN stays NaN. Differentiable in
    points and table, and so is the gradient (normals can be trained through); a third derivative exists in the
    reference only. On CUDA the native table gradient adds in no fixed order (so deterministic algorithms avoid it).
    Raises `ValueError` where shapes, types, devices or `active_levels` do not fit.
    """
    active = levels.levels if active_levels is None else active_levels
    _validate(points, table, levels, active)
    tinycudann = _library.library("hash_encode", points)
    if tinycudann is not None and len(points) and _tinycudann.fits(tinycudann, table, levels, active):
        return _tinycudann.encode(tinycudann, points, table, levels, active)
    if not _library.runs_native("hash_encode", points.device):
        return hash_encode_reference(points, table, levels, active)
    return _hash_encode_native.encode(points, table, None, *_hash_encode_native.pack(levels, active))


def hash_encode_points_gradient(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries features"],
    cotangent: Float[Tensor, "points channels"],
    levels: HashLevels,
    active_levels: int | None = None,
) -> Float[Tensor, "points 3"]:
    """Gradient of `sum(cotangent * hash_encode(points, table))` in the points, differentiable in all three tensors.

    What `torch.autograd.grad` gives, at half the price: autograd cannot know that nobody asks for the gradient of the
    table, and computes it too. For analytic normals, pass the gradient of the density in its encoding. Raises as
    `hash_encode` does.
    """
    active = levels.levels if active_levels is None else active_levels
    _validate(points, table, levels, active)
    if cotangent.shape != (len(points), levels.channels) or cotangent.dtype != points.dtype:
        raise ValueError(
            f"hash_encode_points_gradient: the cotangent is {cotangent.dtype} of shape {tuple(cotangent.shape)}; "
            f"expected {points.dtype} of shape {(len(points), levels.channels)}"
        )
    if not _library.runs_native("hash_encode", points.device):
        return _points_gradient_reference(points, table, cotangent, levels, active)
    packed = _hash_encode_native.pack(levels, active)
    return _hash_encode_native.points_gradient(points, table, None, cotangent, *packed)


@torch.enable_grad()
def _points_gradient_reference(
    points: Tensor, table: Tensor, cotangent: Tensor, levels: HashLevels, active: int
) -> Tensor:
    graph = any(tensor.requires_grad for tensor in (points, table, cotangent))
    moved = points if points.requires_grad else points.detach().requires_grad_()
    encoded = hash_encode_reference(moved, table, levels, active)
    return torch.autograd.grad(encoded, moved, cotangent, create_graph=graph)[0]


def _validate(points: Tensor, table: Tensor, levels: HashLevels, active: int) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"hash_encode: points have shape {tuple(points.shape)}; expected (points, 3)")
    expected = (levels.entries, levels.features)
    if tuple(table.shape) != expected:
        raise ValueError(f"hash_encode: the table has shape {tuple(table.shape)}; these levels need {expected}")
    if points.dtype != table.dtype or points.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"hash_encode: points are {points.dtype} and the table is {table.dtype}; expected both float32 or both "
            "float64 (under autocast, call it with .float())"
        )
    if points.device != table.device:
        raise ValueError(f"hash_encode: points are on {points.device}, the table on {table.device}; move one of them")
    if not 0 <= active <= levels.levels:
        raise ValueError(f"hash_encode: active_levels={active}; expected 0 to {levels.levels}")
