"""Antialiasing of rasterised images along silhouettes: where the visibility of triangles becomes differentiable."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops.rasterize import Fragments


@dataclass(frozen=True)
class _Pairs:
    """Neighbouring pixels that see different triangles; pixel 0 is the left or upper one."""

    first: Int[Tensor, " pairs"]
    second: Int[Tensor, " pairs"]
    view: Int[Tensor, " pairs"]
    face: Int[Tensor, " pairs"]
    "The nearer of the two triangles: the owner of the border between them."
    side: Float[Tensor, " pairs"]
    "+1 where pixel 0 sees the owner, -1 where pixel 1 does."
    center: Float[Tensor, "pairs 2"]
    "Middle of the pixel that sees the owner."


def antialias(
    image: Float[Tensor, "batch height width channels"],
    fragments: Fragments,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
) -> Float[Tensor, "batch height width channels"]:
    """Blend neighbouring pixels by where the silhouette between them crosses the line that joins their middles.

    For a crossing at distance d (pixels) from the owner's middle, `a = s (1/2 - d)`: the first pixel becomes
    `c_0 + a (c_1 - c_0)` where a > 0, else the second becomes `c_1 + a (c_1 - c_0)`. Differentiable in `image`,
    `vertices` and the cameras' poses. Source: nvdiffrast (arXiv 2011.03277, section 3.2); card rep 7.8.
    """
    projected = cameras.project(vertices)
    opposite = _opposite(faces)
    flat, out = image.flatten(0, 2), image.flatten(0, 2)
    for vertical in (False, True):
        pairs = _pairs(fragments, vertical)
        blend = _blend(pairs, projected, faces, opposite, vertical)
        change = blend.unsqueeze(-1) * (flat[pairs.second] - flat[pairs.first])
        out = out.index_add(0, torch.where(blend > 0, pairs.first, pairs.second), change)
    return out.view_as(image)


def _pairs(fragments: Fragments, vertical: bool) -> _Pairs:
    triangle, depth = fragments.triangle, fragments.depth.detach().squeeze(-1)
    height, width = triangle.shape[1:]
    index = torch.arange(triangle.numel(), device=triangle.device).view_as(triangle)
    axis = 1 if vertical else 2
    first, second = (index.narrow(axis, start, index.shape[axis] - 1) for start in (0, 1))
    differ = triangle.flatten()[first] != triangle.flatten()[second]
    first, second = first[differ], second[differ]
    near = torch.where(triangle < 0, torch.inf, depth).flatten()
    mine = near[first] <= near[second]
    owner = torch.where(mine, first, second)
    center = torch.stack([owner % width, owner // width % height], dim=-1).to(depth) + 0.5
    side = torch.where(mine, 1.0, -1.0).to(depth)
    return _Pairs(first, second, owner // (height * width), triangle.flatten()[owner], side, center)


def _blend(
    pairs: _Pairs,
    projected: Float[Tensor, "batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    opposite: Int[Tensor, "faces 3"],
    vertical: bool,
) -> Float[Tensor, " pairs"]:
    """`a` for each pair; zero where no silhouette lies between the two."""
    corners = projected[pairs.view[:, None], faces[pairs.face]][..., :2] - pairs.center[:, None]
    beyond = opposite[pairs.face]
    across = projected[pairs.view[:, None], beyond.clamp_min(0)][..., :2].detach() - pairs.center[:, None]
    if vertical:
        corners, across = corners.flip(-1), across.flip(-1)
    distance, usable = [], []
    for edge in range(3):
        p, q, third = corners[:, edge], corners[:, (edge + 1) % 3], corners[:, (edge + 2) % 3]
        delta = q - p
        straddles = (p[:, 1] < 0) != (q[:, 1] < 0)
        level = torch.where(straddles, delta[:, 1], 1.0)
        along = pairs.side * (p[:, 0] * delta[:, 1] - p[:, 1] * delta[:, 0]) / level
        silhouette = (beyond[:, edge] < 0) | (_turn(p, q, third) * _turn(p, q, across[:, edge]) > 0)
        distance.append(torch.where(straddles, along, -torch.inf))
        usable.append(silhouette & (delta[:, 1].abs() >= delta[:, 0].abs()))
    farthest, edge = torch.stack(distance, dim=1).max(dim=1)
    fits = torch.stack(usable, dim=1).gather(1, edge[:, None]).squeeze(1)
    fits = fits & (farthest > -1 / 16) & (farthest < 17 / 16)
    return torch.where(fits, pairs.side * (0.5 - torch.where(fits, farthest, 0.5).clamp(0, 1)), 0.0)


def _turn(p: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """Twice the signed area of the triangle p q r."""
    a, b = (q - p).detach(), (r - p).detach()
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _opposite(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "faces 3"]:
    """For the edge from corner i to i + 1 of each face, the third corner of the one other face there; -1 for none."""
    ends = torch.stack([faces, faces.roll(-1, dims=1)], dim=-1).view(-1, 2).sort(dim=1).values
    third = faces.roll(-2, dims=1).reshape(-1)
    _, edge, count = ends.unique(dim=0, return_inverse=True, return_counts=True)
    order = torch.argsort(edge, stable=True)
    pair = order[count[edge[order]] == 2].view(-1, 2)
    found = torch.full_like(third, -1)
    found[pair[:, 0]], found[pair[:, 1]] = third[pair[:, 1]], third[pair[:, 0]]
    return found.view_as(faces)
