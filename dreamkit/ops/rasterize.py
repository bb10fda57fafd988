"""Triangle rasterisation: which triangle a pixel sees, and where in it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras

PART = 1 << 17
"Pairs of a face and a pixel that are tested at a time."


@dataclass(frozen=True)
class Fragments:
    """What each pixel sees. Example: `triangle[n, y, x] = f` says that in view n face f is nearest at pixel (x, y)."""

    triangle: Int[Tensor, "batch height width"]
    "Index of the nearest face, -1 where there is none."
    barycentric: Float[Tensor, "batch height width 3"]
    "Perspective-correct weights of the face's three corners; zero where there is no face."
    depth: Float[Tensor, "batch height width 1"]
    "Depth along the view axis; zero where there is no face."

    @property
    def mask(self) -> Float[Tensor, "batch height width 1"]:
        return (self.triangle >= 0).unsqueeze(-1).to(self.depth.dtype)


def rasterize_reference(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    near: float = 1e-2,
    cull: bool = False,
) -> Fragments:
    """Find the nearest triangle behind the middle of every pixel.

    Each triangle is expanded into the pixels of its bounding box; a pixel is inside where the three edge functions
    `a_i = (p_j - f) x (p_k - f)` have one sign; the smallest depth wins, and among equals the first triangle.
    Triangles that cross the plane `near` in front of a camera are left out, so keep cameras outside the object.
    `cull` leaves out triangles that turn their back to the camera: twice as fast, and the same for closed solids.
    Not differentiable. Source: the edge-function formulation of nvdiffrast (arXiv 2011.03277, section 3.2).
    """
    projected = cameras.project(vertices)
    views = [_rasterize_view(view[faces], cameras.height, cameras.width, near, cull) for view in projected]
    triangle, barycentric, depth = (torch.stack(parts) for parts in zip(*views, strict=True))
    return Fragments(triangle, barycentric, depth)


def rasterize_chart(uv: Float[Tensor, "coordinates 2"], faces: Int[Tensor, "faces 3"], size: int) -> Fragments:
    """Find the triangle behind the middle of every texel of a square texture: a batch of one, depth 1 everywhere.

    Texture coordinates are scaled by `size` and seen straight on; where charts overlap, the first triangle wins.
    """
    corners = torch.cat([uv * size, torch.ones_like(uv[:, :1])], dim=-1)[faces]
    triangle, barycentric, depth = _rasterize_view(corners, size, size, near=0.0, cull=False)
    return Fragments(triangle[None], barycentric[None], depth[None])


def interpolate(
    attribute: Float[Tensor, "values channels"], faces: Int[Tensor, "faces 3"], fragments: Fragments
) -> Float[Tensor, "batch height width channels"]:
    """Attribute of the visible surface, `sum_i b_i A_i`; zero where nothing is seen."""
    seen = fragments.triangle >= 0
    corners = faces[fragments.triangle[seen]]
    weights = fragments.barycentric[seen].to(attribute.dtype)
    value = torch.zeros_like(attribute[corners[:, 0]])
    for i in range(3):
        value = value + weights[:, i, None] * attribute[corners[:, i]]
    image = attribute.new_zeros(*seen.shape, attribute.shape[-1])
    return image.masked_scatter(seen.unsqueeze(-1), value)


def _rasterize_view(
    corners: Float[Tensor, "faces 3 3"], height: int, width: int, near: float, cull: bool
) -> tuple[Tensor, ...]:
    low, extent = _boxes(corners, height, width, near, cull)
    drawn = extent.prod(dim=1)
    # Parts that fit the processor's cache: one large batch spends most of its time on fresh memory.
    part = (torch.cumsum(drawn, dim=0) - drawn) // PART
    ends = torch.cumsum(torch.bincount(part, minlength=1), dim=0).tolist()
    bounds = [(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True) if end > start]
    found = [_cover(corners, low, extent, range(*bound), width) for bound in bounds]
    empty = corners.new_zeros(0, dtype=torch.long), corners.new_zeros(0, dtype=torch.long), corners.new_zeros(0, 3)
    face, pixel, weights = (torch.cat(parts) for parts in zip(empty, *found, strict=True))
    depth = 1 / weights.sum(dim=-1)
    return _nearest(face, pixel, weights * depth.unsqueeze(-1), depth, height, width)


def _boxes(corners: Tensor, height: int, width: int, near: float, cull: bool) -> tuple[Tensor, Tensor]:
    """First pixel and size of each face's bounding box on the image, as (x, y); size zero where it is not drawn."""
    limit = torch.tensor([width, height], dtype=corners.dtype, device=corners.device)
    low = (corners[..., :2].amin(dim=1) - 0.5).ceil().clamp_min(0)
    high = ((corners[..., :2].amax(dim=1) - 0.5).floor() + 1).minimum(limit)
    hidden = (corners[..., 2] <= near).any(dim=1)
    if cull:
        a, b, c = corners[..., :2].permute(1, 2, 0).unbind(dim=0)
        # y grows downwards on the image: counter-clockwise triangles have a negative area there.
        hidden |= _cross(b - a, c - a) >= 0
    extent = (high - low).clamp_min(0).masked_fill(hidden.unsqueeze(-1), 0).long()
    return low.clamp_max(max(width, height)).long(), extent


def _cover(corners: Tensor, low: Tensor, extent: Tensor, part: range, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The (face, pixel) pairs of some faces where the pixel's middle is inside, and barycentrics over depth."""
    count = extent[part.start : part.stop].prod(dim=1)
    face = torch.repeat_interleave(torch.arange(part.start, part.stop, device=corners.device), count)
    rank = torch.arange(len(face), device=corners.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    columns = extent[face, 0]
    row = rank // columns
    pixel = torch.stack([low[face, 0] + rank - row * columns, low[face, 1] + row])
    a, b, c = (corners[face, i, :2].T - (pixel + 0.5).to(corners.dtype) for i in range(3))
    edge = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)])
    area = edge.sum(dim=0)
    inside = (((edge.amin(dim=0) >= 0) | (edge.amax(dim=0) <= 0)) & (area != 0)).nonzero().squeeze(-1)
    face, edge, area, pixel = face[inside], edge[:, inside].T, area[inside, None], pixel[:, inside]
    # Barycentrics are linear on the screen; dividing by depth makes them linear on the surface.
    return face, pixel[1] * width + pixel[0], edge / area / corners[face, :, 2]


def _nearest(
    face: Tensor, pixel: Tensor, barycentric: Tensor, depth: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    closest = torch.full((height * width,), torch.inf, dtype=depth.dtype, device=depth.device)
    closest.scatter_reduce_(0, pixel, depth, "amin")
    # Equal depths happen on shared edges; the lowest index wins, so the image does not depend on the order of work.
    rank = torch.arange(len(face), device=face.device)
    winner = torch.full((height * width,), len(face), device=face.device)
    front = depth == closest[pixel]
    winner.scatter_reduce_(0, pixel[front], rank[front], "amin")
    hit = winner < len(face)
    triangle = torch.full((height * width,), -1, device=face.device)
    weights = torch.zeros(height * width, 3, dtype=barycentric.dtype, device=face.device)
    distance = torch.zeros(height * width, 1, dtype=depth.dtype, device=face.device)
    triangle[hit], weights[hit], distance[hit, 0] = face[winner[hit]], barycentric[winner[hit]], depth[winner[hit]]
    return triangle.view(height, width), weights.view(height, width, 3), distance.view(height, width, 1)


def _cross(a: Float[Tensor, "2 pairs"], b: Float[Tensor, "2 pairs"]) -> Float[Tensor, " pairs"]:
    return a[0] * b[1] - a[1] * b[0]
