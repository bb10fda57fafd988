"""Multilinear look-up in a lattice of features: lines, planes and boxes, for any number of channels."""

from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def lookup(
    unit: Float[Tensor, "points axes"], table: Float[Tensor, "vertices channels"], resolution: int
) -> Float[Tensor, "points channels"]:
    """Blend the features of the `2^axes` vertices around each point of the unit cube [0, 1]^axes.

    `f(u) = sum_c [prod_i (s_i if c_i else 1 - s_i)] table[floor(p) + c]`, `p = u (resolution - 1)`, `s = p - floor(p)`:
    vertices lie on the cube's faces, and vertex (i, j, k) is row `(i resolution + j) resolution + k`. Differentiable
    any number of times in points and table. Raises ValueError where the table does not have `resolution^axes` rows.
    """
    axes = unit.shape[1]
    if resolution < 2 or len(table) != resolution**axes:
        raise ValueError(
            f"a lattice with {axes} axes and resolution {resolution} (at least 2) has {resolution**axes} rows; "
            f"the table has {len(table)}"
        )
    position = unit * (resolution - 1)
    cell = position.detach().floor().clamp(0, resolution - 2)
    upper = (position - cell)[:, None]
    corner, stride = _corners(axes), torch.tensor([resolution ** (axes - 1 - i) for i in range(axes)])
    corner, stride = corner.to(unit.device), stride.to(unit.device)
    vertex = ((cell.long()[:, None] + corner) * stride).sum(dim=-1)
    weight = torch.where(corner.bool(), upper, 1 - upper).prod(dim=-1)
    if weight.requires_grad:
        # Second derivatives exist only for this form.
        return (functional.embedding(vertex, table) * weight[..., None]).sum(dim=1)
    # The same sum without the list of all corners' features: three to five times as fast on the CPU.
    return functional.embedding_bag(vertex, table, per_sample_weights=weight, mode="sum")


@cache
def _corners(axes: int) -> Int[Tensor, "corners axes"]:
    return torch.tensor([[corner >> axis & 1 for axis in range(axes)] for corner in range(2**axes)])
