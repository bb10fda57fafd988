"""Rasterising in plain torch, on any device; the contract is in rasterize.py."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

PART = 1 << 17
"Pairs of a face and a pixel that are tested at a time."


def visible_in_view(
    corners: Float[Tensor, "faces 3 3"], height: int, width: int, near: float, cull: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Triangle, barycentric and depth of one view; differentiable in the corners as they are on the image."""
    with torch.no_grad():
        triangle = _visible(corners, height, width, near, cull)
    pixel = (triangle >= 0).nonzero().squeeze(-1)
    seen = corners[triangle[pixel]]
    weights, depth = _barycentrics(edge_areas(seen, torch.stack([pixel % width, pixel // width])), seen)
    barycentric = corners.new_zeros(height * width, 3).index_put((pixel,), weights.T)
    distance = corners.new_zeros(height * width).index_put((pixel,), depth)
    return (
        triangle.view(height, width),
        barycentric.view(height, width, 3),
        distance.view(height, width, 1),
    )


def _visible(corners: Float[Tensor, "faces 3 3"], height: int, width: int, near: float, cull: bool) -> Tensor:
    """Index of the nearest face at each pixel, -1 for none."""
    low, extent = _boxes(corners, height, width, near, cull)
    drawn = extent.prod(dim=1)
    # Parts that fit the processor's cache: one large batch spends most of its time on fresh memory.
    part = (torch.cumsum(drawn, dim=0) - drawn) // PART
    ends = torch.cumsum(torch.bincount(part, minlength=1), dim=0).tolist()
    bounds = [(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True) if end > start]
    found = [_cover(corners, low, extent, range(*bound), width) for bound in bounds]
    empty = corners.new_zeros(0, dtype=torch.long), corners.new_zeros(0, dtype=torch.long), corners.new_zeros(0)
    face, pixel, depth = (torch.cat(parts) for parts in zip(empty, *found, strict=True))
    return _nearest(face, pixel, depth, height * width)


def _boxes(corners: Tensor, height: int, width: int, near: float, cull: bool) -> tuple[Tensor, Tensor]:
    """First pixel and size of each face's bounding box on the image, as (x, y); size zero where it is not drawn."""
    limit = torch.tensor([width, height], dtype=corners.dtype, device=corners.device)
    low = (corners[..., :2].amin(dim=1) - 0.5).ceil().clamp_min(0)
    high = ((corners[..., :2].amax(dim=1) - 0.5).floor() + 1).minimum(limit)
    hidden = (corners[..., 2] <= near).any(dim=1) | ~corners.isfinite().flatten(1).all(dim=1)
    if cull:
        a, b, c = corners[..., :2].permute(1, 2, 0).unbind(dim=0)
        # y grows downwards on the image: counter-clockwise triangles have a negative area there.
        hidden |= _cross(b - a, c - a) >= 0
    extent = (high - low).clamp_min(0).masked_fill(hidden.unsqueeze(-1), 0).long()
    return low.nan_to_num().clamp_max(max(width, height)).long(), extent


def _cover(corners: Tensor, low: Tensor, extent: Tensor, part: range, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The (face, pixel) pairs of some faces where the pixel's middle is inside, and barycentrics over depth."""
    count = extent[part.start : part.stop].prod(dim=1)
    face = torch.repeat_interleave(torch.arange(part.start, part.stop, device=corners.device), count)
    rank = torch.arange(len(face), device=corners.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    columns = extent[face, 0]
    row = rank // columns
    pixel = torch.stack([low[face, 0] + rank - row * columns, low[face, 1] + row])
    edge = edge_areas(corners[face], pixel)
    inside = ((edge.amin(dim=0) >= 0) | (edge.amax(dim=0) <= 0)) & (add_up(edge) != 0)
    inside = inside.nonzero().squeeze(-1)
    face, pixel = face[inside], pixel[:, inside]
    return face, pixel[1] * width + pixel[0], _barycentrics(edge[:, inside], corners[face])[1]


def edge_areas(corners: Float[Tensor, "pairs 3 3"], pixel: Int[Tensor, "2 pairs"]) -> Float[Tensor, "3 pairs"]:
    """`a_i = (p_j - f) x (p_k - f)`, twice the area that the pixel's middle spans with the edge opposite corner i."""
    a, b, c = (corners[:, i, :2].T - (pixel + 0.5).to(corners.dtype) for i in range(3))
    return torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)])


def _barycentrics(
    edge: Float[Tensor, "3 pairs"], corners: Float[Tensor, "pairs 3 3"]
) -> tuple[Float[Tensor, "3 pairs"], Float[Tensor, " pairs"]]:
    """Weights of the corners and depth: areas are linear on the image, areas over depths on the surface."""
    weights = edge * corners[..., 2].T.reciprocal()
    total = add_up(weights)
    return weights / total, add_up(edge) / total


def _nearest(face: Tensor, pixel: Tensor, depth: Tensor, pixels: int) -> Tensor:
    closest = torch.full((pixels,), torch.inf, dtype=depth.dtype, device=depth.device)
    closest.scatter_reduce_(0, pixel, depth, "amin")
    # Equal depths happen on shared edges; the lowest index wins, so the image does not depend on the order of work.
    nobody = torch.iinfo(torch.int64).max
    winner = torch.full((pixels,), nobody, device=face.device)
    front = depth == closest[pixel]
    winner.scatter_reduce_(0, pixel[front], face[front], "amin")
    return winner.masked_fill_(winner == nobody, -1)


def add_up(three: Float[Tensor, "3 pairs"]) -> Float[Tensor, " pairs"]:
    # Written out, so that the kernels can add in the same order.
    return three[0] + three[1] + three[2]


def _cross(a: Float[Tensor, "2 pairs"], b: Float[Tensor, "2 pairs"]) -> Float[Tensor, " pairs"]:
    return a[0] * b[1] - a[1] * b[0]
