"""How a surface passes through a cube: which crossed edges form a loop, for every pattern of inside corners.

Corner `x + 2 y + 4 z` of a cube lies at (x, y, z). Edge `4 axis + b + 2 c` runs along `axis`, at the place b, c on the
two axes that follow it cyclically. Face `2 axis + side` is across `axis`, on its low (0) or high (1) side.

The tables are derived, not copied: on each face the crossed edges are joined in pairs, and each crossed edge lies on
two faces, so the pairs close to loops. A face with two opposite inside corners can be joined in two ways; a bit for
each face says which. Source of the idea: dual marching cubes (Nielson 2004); card rep 7.6.
"""

from functools import cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def edge_corners(edge: int) -> tuple[int, int]:
    """The corners at both ends of an edge, the one with the smaller coordinate first."""
    axis, b, c = edge // 4, edge % 2, edge // 2 % 2
    low = (b << (axis + 1) % 3) + (c << (axis + 2) % 3)
    return low, low + (1 << axis)


EDGES = tuple(edge_corners(edge) for edge in range(12))
"Both corners of each edge."
_EDGE_OF = {frozenset(ends): edge for edge, ends in enumerate(EDGES)}


def _face_corners(face: int) -> tuple[int, ...]:
    """The four corners of a face, in order around it."""
    axis, side = divmod(face, 2)
    b, c = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
    return tuple((side << axis) + offset for offset in (0, b, b + c, c))


_FACES = tuple(_face_corners(face) for face in range(6))


def _is_ambiguous(case: int, face: int) -> bool:
    a, b, c, d = (case >> corner & 1 for corner in _FACES[face])
    return a == c and b == d and a != b


def _joined(case: int, face: int, around_outside: bool) -> list[tuple[int, int]]:
    """The pairs of crossed edges that the surface joins on a face."""
    corners = _FACES[face]
    inside = [case >> corner & 1 for corner in corners]
    edges = [_EDGE_OF[frozenset((corners[i], corners[(i + 1) % 4]))] for i in range(4)]
    crossed = [edges[i] for i in range(4) if inside[i] != inside[(i + 1) % 4]]
    if len(crossed) < 4:
        return [(crossed[0], crossed[1])] if crossed else []
    # The edges before and after a corner are cut off together with it.
    return [(edges[i - 1], edges[i]) for i in range(4) if inside[i] != around_outside]


@cache
def _loops(case: int, mask: int) -> tuple[int, ...]:
    """Number of the loop that each edge belongs to, counted from 0; -1 for edges that are not crossed."""
    label = [edge if (case >> low ^ case >> high) & 1 else -1 for edge, (low, high) in enumerate(EDGES)]
    for face in range(6):
        for a, b in _joined(case, face, bool(mask >> face & 1)):
            old, new = label[a], label[b]
            label = [new if value == old else value for value in label]
    numbers = sorted({value for value in label if value >= 0})
    return tuple(numbers.index(value) if value >= 0 else -1 for value in label)


@cache
def loop_table() -> Int[Tensor, "cases masks edges"]:
    """Loop of each edge, for the 256 patterns of inside corners `sum_i 2^i [s_i < 0]` and 64 ways to join the faces.

    Bit `face` of the mask joins the edges around the outside corners of an ambiguous face; else, inside ones.
    """
    rows = []
    for case in range(256):
        relevant = sum(1 << face for face in range(6) if _is_ambiguous(case, face))
        rows += [_loops(case, mask & relevant) for mask in range(64)]
    return torch.tensor(rows).view(256, 64, 12)


@cache
def pinched_table() -> Bool[Tensor, "cases masks faces"]:
    """Whether one loop crosses an ambiguous face twice, for each pattern, way to join, and face."""
    loops = loop_table()
    pinched = torch.zeros(256, 64, 6, dtype=torch.bool)
    for face, corners in enumerate(_FACES):
        edges = [_EDGE_OF[frozenset((corners[i], corners[(i + 1) % 4]))] for i in range(4)]
        ambiguous = torch.tensor([_is_ambiguous(case, face) for case in range(256)])
        same = (loops[..., edges] == loops[..., edges[:1]]).all(dim=-1)
        pinched[..., face] = same & ambiguous[:, None]
    return pinched
