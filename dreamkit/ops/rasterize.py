"""Triangle rasterisation: which triangle a pixel sees, and where in it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops import _library, _rasterize_native

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


def rasterize(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    near: float = 1e-2,
    cull: bool = False,
) -> Fragments:
    """Find the nearest triangle behind the middle of every pixel, and where in it the pixel lies.

    With `p_i` the corners on the image, `z_i` their depths, `f` the pixel's middle and `a_i = (p_j - f) x (p_k - f)`:
    inside where they have one sign, `b_i = (a_i / z_i) / sum_j (a_j / z_j)`, `depth = sum_j a_j / sum_j (a_j / z_j)`.
    The smallest depth wins, among equals the lowest index. Left out are triangles that cross the plane `near` in front
    of a camera (so keep cameras outside the object), that have corners which are not finite, and, with `cull`, that
    turn their back to the camera: twice as fast, and the same for closed solids.
    Differentiable once in `vertices` and in the cameras' poses, through barycentric and depth; not through what is
    visible, which is `ops/antialias.py`. Source: nvdiffrast (arXiv 2011.03277, section 3.2); card 7.7. Raises
    `ValueError` where shapes, types or indices do not fit.
    """
    projected = cameras.project(vertices)
    return _rasterize_projected(projected, faces, (cameras.height, cameras.width), near, cull)


def rasterize_reference(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    near: float = 1e-2,
    cull: bool = False,
) -> Fragments:
    """The same in plain torch: each triangle is expanded into the pixels of its bounding box."""
    return _reference(cameras.project(vertices), faces, (cameras.height, cameras.width), near, cull)


def rasterize_chart(uv: Float[Tensor, "coordinates 2"], faces: Int[Tensor, "faces 3"], size: int) -> Fragments:
    """Find the triangle behind the middle of every texel of a square texture: a batch of one, depth 1 everywhere.

    Texture coordinates are scaled by `size` and seen straight on; where charts overlap, the first triangle wins.
    """
    flat = torch.cat([uv * size, torch.ones_like(uv[:, :1])], dim=-1)
    return _rasterize_projected(flat[None], faces, (size, size), near=0.0, cull=False)


def interpolate(
    attribute: Float[Tensor, "values channels"], faces: Int[Tensor, "faces 3"], fragments: Fragments
) -> Float[Tensor, "batch height width channels"]:
    """Attribute of the visible surface, `sum_i b_i A_i`; zero where nothing is seen.

    `faces` names rows of the attribute: the mesh's own faces, or those of its texture coordinates. Differentiable once
    in the attribute and, through the barycentrics, in what they came from. Source: card 7.7. Raises `ValueError`
    where an index does not fit.
    """
    _check_indices("interpolate", faces, len(attribute))
    native = attribute.dtype in (torch.float32, torch.float64) and faces.dtype == torch.int64
    if not native or not _library.runs_native("interpolate", attribute.device):
        return interpolate_reference(attribute, faces, fragments)
    barycentric = fragments.barycentric.to(attribute.dtype)
    return _rasterize_native.interpolate(attribute, faces, fragments.triangle, barycentric)


def interpolate_reference(
    attribute: Float[Tensor, "values channels"], faces: Int[Tensor, "faces 3"], fragments: Fragments
) -> Float[Tensor, "batch height width channels"]:
    """The same in plain torch, for any type of number."""
    seen = fragments.triangle >= 0
    corners = faces[fragments.triangle[seen]]
    weights = fragments.barycentric[seen].to(attribute.dtype)
    value = torch.zeros_like(attribute[corners[:, 0]])
    for i in range(3):
        value = value + weights[:, i, None] * attribute[corners[:, i]]
    image = attribute.new_zeros(*seen.shape, attribute.shape[-1])
    return image.masked_scatter(seen.unsqueeze(-1), value)


def _rasterize_projected(
    projected: Float[Tensor, "batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    size: tuple[int, int],
    near: float,
    cull: bool,
) -> Fragments:
    _validate(projected, faces)
    if not _library.runs_native("rasterize", projected.device):
        return _reference(projected, faces, size, near, cull)
    height, width = size
    barycentric, depth, triangle = _rasterize_native.rasterize(projected, faces, height, width, near, cull)
    return Fragments(triangle, barycentric, depth)


def _validate(projected: Tensor, faces: Tensor) -> None:
    if projected.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"rasterize: the projected vertices are {projected.dtype}; expected float32 or float64 for vertices and "
            "cameras (under autocast, use .float())"
        )
    if faces.dtype != torch.int64:
        raise ValueError(f"rasterize: faces are {faces.dtype}; expected int64")
    if faces.device != projected.device:
        raise ValueError(f"rasterize: faces are on {faces.device}, vertices on {projected.device}; move them to one")
    _check_indices("rasterize", faces, projected.shape[1])


def _check_indices(op: str, faces: Tensor, count: int) -> None:
    if torch.compiler.is_compiling() or not faces.numel():
        return
    low, high = (int(bound) for bound in faces.aminmax())
    if low < 0 or high >= count:
        raise ValueError(f"{op}: faces name the rows {low} to {high}; expected 0 to {count - 1}")


def _reference(projected: Tensor, faces: Tensor, size: tuple[int, int], near: float, cull: bool) -> Fragments:
    views = [_reference_view(view[faces], *size, near, cull) for view in projected]
    triangle, barycentric, depth = (torch.stack(parts) for parts in zip(*views, strict=True))
    return Fragments(triangle, barycentric, depth)


def _reference_view(
    corners: Float[Tensor, "faces 3 3"], height: int, width: int, near: float, cull: bool
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.no_grad():
        triangle = _visible(corners, height, width, near, cull)
    pixel = (triangle >= 0).nonzero().squeeze(-1)
    seen = corners[triangle[pixel]]
    weights, depth = _barycentrics(_edges(seen, torch.stack([pixel % width, pixel // width])), seen)
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
    edge = _edges(corners[face], pixel)
    inside = ((edge.amin(dim=0) >= 0) | (edge.amax(dim=0) <= 0)) & (_sum(edge) != 0)
    inside = inside.nonzero().squeeze(-1)
    face, pixel = face[inside], pixel[:, inside]
    return face, pixel[1] * width + pixel[0], _barycentrics(edge[:, inside], corners[face])[1]


def _edges(corners: Float[Tensor, "pairs 3 3"], pixel: Int[Tensor, "2 pairs"]) -> Float[Tensor, "3 pairs"]:
    """`a_i = (p_j - f) x (p_k - f)`, twice the area that the pixel's middle spans with the edge opposite corner i."""
    a, b, c = (corners[:, i, :2].T - (pixel + 0.5).to(corners.dtype) for i in range(3))
    return torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)])


def _barycentrics(
    edge: Float[Tensor, "3 pairs"], corners: Float[Tensor, "pairs 3 3"]
) -> tuple[Float[Tensor, "3 pairs"], Float[Tensor, " pairs"]]:
    """Weights of the corners and depth: areas are linear on the image, areas over depths on the surface."""
    weights = edge * corners[..., 2].T.reciprocal()
    total = _sum(weights)
    return weights / total, _sum(edge) / total


def _nearest(face: Tensor, pixel: Tensor, depth: Tensor, pixels: int) -> Tensor:
    closest = torch.full((pixels,), torch.inf, dtype=depth.dtype, device=depth.device)
    closest.scatter_reduce_(0, pixel, depth, "amin")
    # Equal depths happen on shared edges; the lowest index wins, so the image does not depend on the order of work.
    nobody = torch.iinfo(torch.int64).max
    winner = torch.full((pixels,), nobody, device=face.device)
    front = depth == closest[pixel]
    winner.scatter_reduce_(0, pixel[front], face[front], "amin")
    return winner.masked_fill_(winner == nobody, -1)


def _sum(three: Float[Tensor, "3 pairs"]) -> Float[Tensor, " pairs"]:
    # Written out, so that the kernels can add in the same order.
    return three[0] + three[1] + three[2]


def _cross(a: Float[Tensor, "2 pairs"], b: Float[Tensor, "2 pairs"]) -> Float[Tensor, " pairs"]:
    return a[0] * b[1] - a[1] * b[0]
