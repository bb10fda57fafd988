"""Marching tetrahedra: the zero level of a signed distance on a tetrahedral grid, as a differentiable mesh."""

from dataclasses import dataclass
from functools import reduce
from itertools import permutations, product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"The six edges of a tetrahedron, as pairs of its corners."

TRIANGLES = (
    *((), ((0, 1, 2),), ((0, 4, 3),), ((1, 2, 4), (1, 4, 3))),
    *(((1, 3, 5),), ((0, 3, 5), (0, 5, 2)), ((0, 4, 5), (0, 5, 1)), ((2, 4, 5),)),
    *(((2, 5, 4),), ((0, 1, 5), (0, 5, 4)), ((0, 2, 5), (0, 5, 3)), ((1, 5, 3),)),
    *(((1, 3, 4), (1, 4, 2)), ((0, 3, 4),), ((0, 2, 1),), ()),
)
"For each case `sum_i 2^i [s_i < 0]`: the triangles, as edge numbers, counter-clockwise seen from s > 0."

_PADDED = [[*case, *[(-1, -1, -1)] * (2 - len(case))] for case in TRIANGLES]
"The same with two triangles for each case, of which some are not there."


@dataclass(frozen=True)
class TetGrid:
    """A tetrahedral grid, or the part of one that a surface crosses."""

    vertices: Float[Tensor, "vertices 3"]
    tets: Int[Tensor, "tets 4"]
    "Positively oriented: det(v1 - v0, v2 - v0, v3 - v0) > 0."


def grid_points(resolution: int, low: Float[Tensor, "3"], high: Float[Tensor, "3"]) -> Float[Tensor, "vertices 3"]:
    """The (resolution + 1)^3 corners of a cubic grid over the box; index `(x (n + 1) + y) (n + 1) + z`."""
    share = torch.linspace(0, 1, resolution + 1, dtype=low.dtype, device=low.device)
    axes = torch.meshgrid(*(low[i] + (high[i] - low[i]) * share for i in range(3)), indexing="ij")
    return torch.stack(axes, dim=-1).reshape(-1, 3)


def kuhn_tets(
    resolution: int, inside: Bool[Tensor, " vertices"] | None = None, device: torch.device | str = "cpu"
) -> Int[Tensor, "tets 4"]:
    """The Kuhn subdivision of `resolution`^3 cubes, six tetrahedra a cube, as indices into `grid_points`.

    For each permutation pi of the axes: corners 0, e_pi1, e_pi1 + e_pi2, (1, 1, 1); the middle two change places where
    the determinant is negative. With `inside`, only the tetrahedra that have corners on both sides are made: at
    128^3 that is some 2 % of 12.6 million. Source: card rep 7.2.
    """
    side = resolution + 1
    if inside is not None and inside.numel() != side**3:
        raise ValueError(f"a grid of {resolution}^3 cubes has {side**3} corners; got {inside.numel()} inside flags")
    device = device if inside is None else inside.device
    stride = (side * side, side, 1)
    cubes, tets = _cubes(resolution, inside, device), []
    for order in permutations(range(3)):
        middle = [stride[order[0]], stride[order[0]] + stride[order[1]]]
        odd = order in ((0, 2, 1), (1, 0, 2), (2, 1, 0))
        offsets = torch.tensor([0, *(reversed(middle) if odd else middle), sum(stride)], device=device)
        tets.append(cubes[:, None] + offsets)
    found = torch.cat(tets)
    if inside is None:
        return found
    sides = inside[found]
    return found[sides.any(dim=1) & ~sides.all(dim=1)]


def kuhn_grid(resolution: int, low: Float[Tensor, "3"], high: Float[Tensor, "3"]) -> TetGrid:
    """All tetrahedra of the Kuhn subdivision of a box (see `kuhn_tets`)."""
    return TetGrid(grid_points(resolution, low, high), kuhn_tets(resolution, device=low.device))


@dataclass(frozen=True)
class Cut:
    """Which edges of a grid a surface crosses, and how the crossings are joined to triangles."""

    edges: Int[Tensor, "surface 2"]
    "Both ends of the grid edge that a surface vertex lies on, as grid vertices, the smaller index first."
    faces: Int[Tensor, "faces 3"]
    "Outward triangles of surface vertices."


def cut_tets(inside: Bool[Tensor, " vertices"], tets: Int[Tensor, "tets 4"]) -> Cut:
    """Crossed edges and outward faces of the border between the grid vertices that are inside and those that are not.

    Vertices that share an edge are one, so the surface of a conforming grid is watertight. No surface gives empty
    tensors. Source: card rep 7.3.
    """
    case = ((1 << torch.arange(4, device=tets.device)) * inside[tets]).sum(dim=1)
    triangles = torch.tensor(_PADDED, device=tets.device)[case]
    keys = _edge_keys(tets, len(inside))[:, None].expand(-1, 2, -1)
    corners = keys.gather(2, triangles.clamp_min(0))[triangles[..., 0] >= 0]
    unique, faces = torch.unique(corners, return_inverse=True)
    return Cut(torch.stack([unique // len(inside), unique % len(inside)], dim=1), faces)


def crossings(
    vertices: Float[Tensor, "vertices 3"], sdf: Float[Tensor, " vertices"], edges: Int[Tensor, "surface 2"]
) -> Float[Tensor, "surface 3"]:
    """Where the distance vanishes on each edge (a, b), by linear interpolation: `x_a + (x_b - x_a) s_a / (s_a - s_b)`.

    |s_a - s_b| is kept above 1e-6 and an exact zero moved to 1e-9. Differentiable in `vertices` and `sdf`.
    """
    a, b = edges.unbind(dim=1)
    s_a, s_b = _off_zero(sdf[a]), _off_zero(sdf[b])
    share = s_a / apart(s_a - s_b)
    return vertices[a] + (vertices[b] - vertices[a]) * share.unsqueeze(-1)


def marching_tets(
    vertices: Float[Tensor, "vertices 3"], sdf: Float[Tensor, " vertices"], tets: Int[Tensor, "tets 4"]
) -> tuple[Float[Tensor, "surface 3"], Int[Tensor, "faces 3"]]:
    """Vertices and outward faces of the level sdf = 0; sdf < 0 is inside, and an exact zero counts as outside.

    `cut_tets` finds the faces, `crossings` the vertices, differentiable in `vertices` and `sdf`.
    """
    cut = cut_tets(sdf < 0, tets)
    return crossings(vertices, sdf, cut.edges), cut.faces


def _cubes(
    resolution: int, inside: Bool[Tensor, " vertices"] | None, device: torch.device | str
) -> Int[Tensor, " cubes"]:
    """Index of the first corner of each cube, or of those that have corners on both sides."""
    side = resolution + 1
    index = torch.arange(side**3, device=device).view(side, side, side)[:-1, :-1, :-1]
    if inside is None:
        return index.reshape(-1)
    sides = inside.view(side, side, side)
    starts = product((0, 1), repeat=3)
    corners = [sides[x : x + resolution, y : y + resolution, z : z + resolution] for x, y, z in starts]
    return index[reduce(torch.bitwise_or, corners) & ~reduce(torch.bitwise_and, corners)]


def _edge_keys(tets: Int[Tensor, "tets 4"], count: int) -> Int[Tensor, "tets 6"]:
    """One integer for each of the `EDGES`, the same from all tetrahedra around it."""
    a, b = (tets[:, list(ends)] for ends in zip(*EDGES, strict=True))
    # Reducing an axis of two numbers would take ten times as long.
    return torch.minimum(a, b) * count + torch.maximum(a, b)


def _off_zero(sdf: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
    return torch.where(sdf == 0, sdf + 1e-9, sdf)


def apart(difference: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
    """The difference kept at least 1e-6 from zero, on its side of it."""
    return torch.where(difference < 0, difference.clamp_max(-1e-6), difference.clamp_min(1e-6))
