"""FlexiCubes: the zero level of a signed distance on a cubic grid, with vertices that can move to sharp corners."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dreamkit.ops.cube_loops import EDGES, loop_table, pinched_table
from dreamkit.ops.marching_tets import apart


@dataclass(frozen=True)
class DualCut:
    """The border between the inside and the outside corners of a cubic grid, as quads between cubes.

    A surface vertex stands for one loop of crossed edges of one cube. Crossings are pairs (cube, crossed edge of it).
    """

    cubes: Int[Tensor, " cubes"]
    "Index, in the grid of resolution^3 cubes, of the cubes that are crossed."
    crossing_cube: Int[Tensor, " crossings"]
    "Position in `cubes`."
    crossing_edge: Int[Tensor, " crossings"]
    "Edge of the cube, 0 to 11 (see `cube_loops`)."
    crossing_vertex: Int[Tensor, " crossings"]
    "The surface vertex that the crossing belongs to."
    vertex_cube: Int[Tensor, " surface"]
    "Position in `cubes` of each surface vertex's cube."
    quads: Int[Tensor, "quads 4"]
    "Surface vertices around each crossed grid edge, counter-clockwise seen from outside."


@dataclass(frozen=True)
class CubeWeights:
    """What FlexiCubes learns for each cube, already activated (all positive)."""

    corner: Float[Tensor, "cubes 8"]
    "alpha: scales the distance at each corner."
    edge: Float[Tensor, "cubes 12"]
    "beta: weight of each edge's crossing in the vertex."
    split: Float[Tensor, " cubes"]
    "gamma: which diagonal a quad is cut along."


def cut_cubes(inside: Bool[Tensor, " vertices"], resolution: int) -> DualCut:
    """The quads between inside and outside; the surface is manifold, and closed if no border corner is inside.

    Where one loop would cross a face twice in both of its cubes, four quads would meet in one dual edge; such faces
    are joined the other way, which splits both loops. Splitting never joins loops of other faces, so one pass over the
    faces (by axis and parity: no two share a cube) is enough. Raises ValueError for a wrong number of corners.
    """
    side = resolution + 1
    if inside.numel() != side**3:
        raise ValueError(f"a grid of {resolution}^3 cubes has {side**3} corners; got {inside.numel()} inside flags")
    case = _cases(inside.view(side, side, side))
    mask = _resolve(case)
    cubes = ((case > 0) & (case < 255)).view(-1).nonzero().squeeze(-1)
    label = loop_table().to(case.device)[case.view(-1)[cubes], mask.view(-1)[cubes]]
    count = label.amax(dim=1) + 1
    first = count.cumsum(0) - count
    vertex = torch.where(label >= 0, label + first[:, None], -1)
    cube, edge = (label >= 0).nonzero().unbind(dim=1)
    owner = torch.repeat_interleave(torch.arange(len(cubes), device=cubes.device), count)
    quads = _quads(inside.view(side, side, side), cubes, vertex, resolution)
    return DualCut(cubes, cube, edge, vertex[cube, edge], owner, quads)


def crossing_points(
    vertices: Float[Tensor, "vertices 3"],
    sdf: Float[Tensor, " vertices"],
    cut: DualCut,
    corner: Float[Tensor, "cubes 8"],
    resolution: int,
) -> Float[Tensor, "crossings 3"]:
    """`u_e = (x_a alpha_b s_b - x_b alpha_a s_a) / (alpha_b s_b - alpha_a s_a)` for each crossed edge (a, b) of a cube.

    The denominator is kept 1e-6 away from zero. Differentiable in all floating-point arguments. Source: card rep 7.6.
    """
    ends = torch.tensor(EDGES, device=sdf.device)[cut.crossing_edge]
    index = _corner_index(cut.cubes, resolution)[cut.crossing_cube[:, None], ends]
    scaled = corner[cut.crossing_cube[:, None], ends] * sdf[index]
    # Written as a share, x_a + (x_b - x_a) t, which loses nothing where both distances are small.
    share = scaled[:, 0] / apart(scaled[:, 0] - scaled[:, 1])
    a, b = vertices[index[:, 0]], vertices[index[:, 1]]
    return a + (b - a) * share.unsqueeze(-1)


def dual_vertices(
    points: Float[Tensor, "crossings 3"], cut: DualCut, edge: Float[Tensor, "cubes 12"]
) -> Float[Tensor, "surface 3"]:
    """`v = sum beta_e u_e / sum beta_e` over the crossings of each vertex's loop."""
    weight = edge[cut.crossing_cube, cut.crossing_edge].unsqueeze(-1)
    total = points.new_zeros(len(cut.vertex_cube), 3).index_add(0, cut.crossing_vertex, weight * points)
    return total / points.new_zeros(len(cut.vertex_cube), 1).index_add(0, cut.crossing_vertex, weight)


def developability(
    points: Float[Tensor, "crossings 3"], vertices: Float[Tensor, "surface 3"], cut: DualCut
) -> Float[Tensor, ""]:
    """`1/2 mean | |v - u_e| - mean_e |v - u_e| |`: zero where a vertex is as far from all its crossings (card 7.6)."""
    distance = (vertices[cut.crossing_vertex] - points).square().sum(dim=-1).clamp_min(1e-16).sqrt()
    zero = distance.new_zeros(len(vertices))
    count = torch.bincount(cut.crossing_vertex, minlength=len(vertices)).clamp_min(1)
    mean = zero.index_add(0, cut.crossing_vertex, distance) / count
    return 0.5 * (distance - mean[cut.crossing_vertex]).abs().sum() / max(len(distance), 1)


def triangles(
    vertices: Float[Tensor, "surface 3"], cut: DualCut, split: Float[Tensor, " cubes"], fan: bool
) -> tuple[Float[Tensor, "all 3"], Int[Tensor, "faces 3"]]:
    """Vertices and faces of the quads' triangles.

    As a fan, four triangles around `(g_02 (v_0 + v_2) + g_13 (v_1 + v_3)) / (2 (g_02 + g_13))`, g_ij = gamma_i gamma_j,
    which is differentiable in gamma; else two, along the diagonal with the larger g.
    """
    gamma = split[cut.vertex_cube][cut.quads]
    along, across = gamma[:, 0] * gamma[:, 2], gamma[:, 1] * gamma[:, 3]
    q = cut.quads
    if not fan:
        first = torch.stack([q[:, [0, 1, 2]], q[:, [0, 2, 3]]], dim=1)
        second = torch.stack([q[:, [0, 1, 3]], q[:, [1, 2, 3]]], dim=1)
        return vertices, torch.where((along > across)[:, None, None], first, second).view(-1, 3)
    corners = vertices[q]
    middle = along[:, None] * (corners[:, 0] + corners[:, 2]) + across[:, None] * (corners[:, 1] + corners[:, 3])
    middle = middle / (2 * (along + across)).unsqueeze(-1)
    hub = torch.arange(len(q), device=q.device) + len(vertices)
    faces = [torch.stack([q[:, i], q[:, (i + 1) % 4], hub], dim=1) for i in range(4)]
    return torch.cat([vertices, middle]), torch.cat(faces)


def _cases(inside: Bool[Tensor, "side side side"]) -> Int[Tensor, "n n n"]:
    """`sum_c 2^c [corner c is inside]` for each cube."""
    n = len(inside) - 1
    case = torch.zeros(n, n, n, dtype=torch.long, device=inside.device)
    for corner in range(8):
        x, y, z = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        case |= inside[x : x + n, y : y + n, z : z + n].long() << corner
    return case


def _resolve(case: Int[Tensor, "n n n"]) -> Int[Tensor, "n n n"]:
    """For each cube, the faces that are to be joined around their outside corners, as a mask."""
    mask, pinched = torch.zeros_like(case), pinched_table().to(case.device)
    for axis in range(3):
        for parity in range(2):
            low = torch.arange(parity, case.shape[axis] - 1, 2, device=case.device)
            here, there = (case.index_select(axis, low + side) for side in (0, 1))
            mine, other = (mask.index_select(axis, low + side) for side in (0, 1))
            flip = pinched[here, mine, 2 * axis + 1] & pinched[there, other, 2 * axis]
            mask.index_copy_(axis, low, mine | flip.long() << (2 * axis + 1))
            mask.index_copy_(axis, low + 1, other | flip.long() << (2 * axis))
    return mask


def _quads(
    inside: Bool[Tensor, "side side side"],
    cubes: Int[Tensor, " cubes"],
    vertex: Int[Tensor, "cubes 12"],
    n: int,
) -> Int[Tensor, "quads 4"]:
    """Around each crossed grid edge inside the grid, the vertices of its four cubes."""
    slot = torch.full((n**3,), -1, device=cubes.device)
    slot[cubes] = torch.arange(len(cubes), device=cubes.device)
    stride = (n * n, n, 1)
    found = []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        crossed = inside.narrow(axis, 0, n) != inside.narrow(axis, 1, n)
        place = crossed.nonzero()
        place = place[((place[:, [b, c]] > 0) & (place[:, [b, c]] < n)).all(dim=1)]
        cube = (place * torch.tensor(stride, device=cubes.device)).sum(dim=1)
        # Counter-clockwise around the axis: the cubes at (-, -), (+, -), (+, +), (-, +) of the edge; seen from the cube
        # at -, the edge is on its + side.
        ring = [(1, 1), (0, 1), (0, 0), (1, 0)]
        corners = [vertex[slot[cube - i * stride[b] - j * stride[c]], 4 * axis + i + 2 * j] for i, j in ring]
        quad = torch.stack(corners, dim=1)
        outwards = inside[place[:, 0], place[:, 1], place[:, 2]]
        found.append(torch.where(outwards[:, None], quad, quad.flip(1)))
    return torch.cat(found)


def _corner_index(cubes: Int[Tensor, " cubes"], n: int) -> Int[Tensor, "cubes 8"]:
    """Grid vertices at the eight corners of each cube."""
    x, y, z = cubes // (n * n), cubes // n % n, cubes % n
    base = (x * (n + 1) + y) * (n + 1) + z
    offsets = [((c & 1) * (n + 1) + (c >> 1 & 1)) * (n + 1) + (c >> 2 & 1) for c in range(8)]
    return base[:, None] + torch.tensor(offsets, device=cubes.device)
