"""Antialias silhouettes as nvdiffrast does: by the edges of the triangles that pixels see.

Take this one for parity with nvdiffrast, and for its speed: C++ and CUDA kernels, a pass over the pixels. Renderers of
dreamkit take `ops/silhouette.py`, the same formula asked of every silhouette edge: it blends all that this op blends,
and what it misses where the triangle that a pixel sees does not own the silhouette. That is a few pixels of a box and
most of a finely meshed ball, whose shape would get next to no gradient. Of a single triangle the two are equal.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.mesh import edge_keys
from dreamkit.ops import _antialias_native, _library, _nvdiffrast
from dreamkit.ops.rasterize import Fragments

REACH = 1 / 16
"A silhouette may lie this much outside of the two pixels' middles, in pixels."


def antialias(
    image: Float[Tensor, "batch height width channels"],
    fragments: Fragments,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    near: float = 1e-2,
    opposite: Int[Tensor, "faces 3"] | None = None,
) -> Float[Tensor, "batch height width channels"]:
    """Blend neighbouring pixels where a silhouette passes between them: `out += a (c_1 - c_0)`, `a = s (1/2 - d)`.

    Each pixel is paired with its right and its lower neighbour where their triangles differ. The owner is the nearer
    triangle, s = 1 if it is seen at the first pixel, else -1; d, cut to [0, 1], is the distance from the owner's pixel
    at which its farthest edge crosses the line of the pair. The edge must be a silhouette that crosses more than it
    follows; the first pixel changes where a > 0, otherwise the second. So an edge that moves by 0.1 pixels changes a
    pixel by 0.1 of the contrast. Background pixels of `image` must hold the background's colour.
    Differentiable once in the image and, through the crossing of the edge with two of its vertices, in `vertices` and
    the cameras' poses; zero where |a| = 1/2. Where the outermost triangle is seen thinner than a pixel, its silhouette
    is lost: a smooth solid gets a part of its gradient only (docs/results/rasterize.md has the numbers). `near` is the
    one that was rasterised with; `opposite` is `opposite_vertices(faces)`, worth
    keeping while the faces stay. Source: nvdiffrast (arXiv 2011.03277, section 3.4); card 7.8. Raises `ValueError`
    where shapes or types do not fit.
    """
    projected = cameras.project(vertices)
    _validate(image, fragments, projected)
    nvdiffrast = _library.library("antialias", image)
    if nvdiffrast is not None and _nvdiffrast.sees_all(projected, faces, near):
        seen = fragments.triangle, fragments.depth.detach()
        return _nvdiffrast.antialias(nvdiffrast, image, projected, faces, *seen)
    opposite = opposite_vertices(faces) if opposite is None else opposite
    if not _library.runs_native("antialias", image.device):
        return _reference(image, fragments, projected, faces, opposite, near)
    tensors = (projected, image, faces, opposite, fragments.triangle, fragments.depth.detach())
    return _antialias_native.antialias(*tensors, near)[0]


def antialias_reference(
    image: Float[Tensor, "batch height width channels"],
    fragments: Fragments,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    near: float = 1e-2,
) -> Float[Tensor, "batch height width channels"]:
    """The same in plain torch."""
    return _reference(image, fragments, cameras.project(vertices), faces, opposite_vertices(faces), near)


def opposite_vertices(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "faces 3"]:
    """For corner i of each face: the far vertex of the face beyond the edge that corner i does not touch.

    -1 where no face is there, or more than one (an edge of three or more faces counts as a silhouette).
    """
    # Corner i does not touch the edge from corner i + 1 to the next.
    ordered, order = edge_keys(faces).roll(-1, dims=1).reshape(-1).sort(stable=True)
    _, count = ordered.unique_consecutive(return_counts=True)
    first = (count.cumsum(0) - count)[count == 2]
    a, b = order[first], order[first + 1]
    corner = faces.reshape(-1)
    found = torch.full_like(corner, -1)
    found[a], found[b] = corner[b], corner[a]
    return found.view(-1, 3)


def _validate(image: Tensor, fragments: Fragments, projected: Tensor) -> None:
    if image.shape[:3] != fragments.triangle.shape or len(projected) != len(image):
        raise ValueError(
            f"antialias: image {tuple(image.shape)}, fragments {tuple(fragments.triangle.shape)} and "
            f"{len(projected)} cameras; expected the same batch, height and width"
        )
    types = {image.dtype, projected.dtype, fragments.depth.dtype}
    if types not in ({torch.float32}, {torch.float64}):
        raise ValueError(
            f"antialias: image, vertices and fragments are {sorted(map(str, types))}; expected all float32 or all "
            "float64 (under autocast, use .float())"
        )


def _reference(
    image: Tensor, fragments: Fragments, projected: Tensor, faces: Tensor, opposite: Tensor, near: float
) -> Tensor:
    width = image.shape[2]
    colors, change = image.reshape(-1, image.shape[-1]), torch.zeros_like(image).reshape(-1, image.shape[-1])
    for axis, step in ((0, 1), (1, width)):
        first = _pairs(fragments.triangle, axis)
        if not len(first):
            continue
        weight, first = _weights(first, step, axis, fragments, projected, faces, opposite, near)
        difference = weight.unsqueeze(-1) * (colors[first + step] - colors[first])
        change = change.index_add(0, torch.where(weight > 0, first, first + step), difference)
    return image + change.view_as(image)


def _pairs(triangle: Int[Tensor, "batch height width"], axis: int) -> Int[Tensor, " pairs"]:
    """Flat index of the first pixel of each pair along the rows (0) or the columns (1) that sees two triangles."""
    index = torch.arange(triangle.numel(), device=triangle.device).view_as(triangle)
    if axis == 0:
        return index[:, :, :-1][triangle[:, :, 1:] != triangle[:, :, :-1]]
    return index[:, :-1][triangle[:, 1:] != triangle[:, :-1]]


def _weights(
    first: Tensor,
    step: int,
    axis: int,
    fragments: Fragments,
    projected: Tensor,
    faces: Tensor,
    opposite: Tensor,
    near: float,
) -> tuple[Float[Tensor, " silhouettes"], Int[Tensor, " silhouettes"]]:
    """`a` and the first pixel of the pairs that a silhouette crosses."""
    height, width = fragments.triangle.shape[1:]
    triangle, depth = fragments.triangle.reshape(-1), fragments.depth.detach().reshape(-1)
    here, there = triangle[first], triangle[first + step]
    mine = (there < 0) | ((here >= 0) & (depth[first] < depth[first + step]))
    owner, face = torch.where(mine, first, first + step), torch.where(mine, here, there)
    view, sign = owner // (height * width), torch.where(mine, 1, -1).to(depth)
    middle = torch.stack([owner % width, owner // width % height], dim=-1) + 0.5

    def seen(vertex: Tensor) -> Tensor:
        """Offset from the owner's pixel: along the pair, across it."""
        return (projected[view, vertex, :2] - middle.to(depth)).flip(-1 if axis else ())

    corners = torch.stack([seen(faces[face, i]) for i in range(3)], dim=1)
    corner, met = _farthest(corners.detach(), sign)
    rows = torch.arange(len(face), device=face.device)
    a, b, own = (corners[rows, (corner + k) % 3] for k in (1, 2, 0))
    beyond = opposite[face, corner]
    far = projected[view, beyond.clamp_min(0)]
    hidden = (beyond < 0) | ~(far[:, 2] > near) | ~far.isfinite().all(dim=-1)
    folds = _turns_left(a, b, own) == _turns_left(a, b, seen(beyond.clamp_min(0)))
    steep = (b - a)[:, 1].abs() >= (b - a)[:, 0].abs()
    kept = (met & steep & (hidden | folds)).nonzero().squeeze(-1)
    a, b, sign = a[kept], b[kept], sign[kept]
    distance = sign * _crossing(a, b)
    within = (distance > 0) & (distance < 1)
    inside = torch.where(within, distance, distance.detach().clamp(0, 1))
    return sign * (0.5 - inside), first[kept]


def _crossing(a: Float[Tensor, "*pairs 2"], b: Float[Tensor, "*pairs 2"]) -> Float[Tensor, "*pairs"]:
    """Where the edge meets the line of the pair."""
    return a[..., 0] - a[..., 1] * ((b[..., 0] - a[..., 0]) / (b[..., 1] - a[..., 1]))


def _farthest(
    corners: Float[Tensor, "pairs 3 2"], sign: Float[Tensor, " pairs"]
) -> tuple[Int[Tensor, " pairs"], Tensor]:
    """The edge (by its opposite corner) through which the pair leaves the triangle, and whether it is near."""
    a, b = corners.roll(-1, dims=1), corners.roll(-2, dims=1)
    straddles = (a[..., 1] < 0) != (b[..., 1] < 0)
    distance = torch.where(straddles, sign.unsqueeze(1) * _crossing(a, b), -torch.inf)
    farthest, corner = distance.max(dim=1)
    return corner, (farthest > -REACH) & (farthest < 1 + REACH)


def _turns_left(a: Float[Tensor, "pairs 2"], b: Float[Tensor, "pairs 2"], c: Float[Tensor, "pairs 2"]) -> Tensor:
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
