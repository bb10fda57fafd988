"""Triangle rasterisation: which triangle a pixel sees, and where in it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops import _library, _nvdiffrast, _rasterize_native, _rasterize_reference


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
    nvdiffrast = _library.library("interpolate", attribute)
    if nvdiffrast is not None and 0 < len(faces) < _nvdiffrast.MOST_FACES:
        weights = fragments.barycentric.to(attribute.dtype)
        return _nvdiffrast.interpolate(nvdiffrast, attribute, faces, fragments.triangle, weights)
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


def interpolate_slope(
    attribute: Float[Tensor, "values channels"],
    attribute_faces: Int[Tensor, "faces 3"],
    fragments: Fragments,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
) -> Float[Tensor, "batch height width channels 2"]:
    """Change of an interpolated attribute from a pixel to the next one right and down; zero where nothing is seen.

    `dA/df = sum_i (dw_i/df - b_i sum_j dw_j/df) / sum_j w_j A_i` with `w_i = a_i / z_i`, linear in the pixel f.
    """
    view, row, column = (fragments.triangle >= 0).nonzero(as_tuple=True)
    face = fragments.triangle[view, row, column]
    corners = cameras.project(vertices)[view.unsqueeze(1), faces[face]]
    weights = _rasterize_reference.edge_areas(corners, torch.stack([column, row])) * corners[..., 2].T.reciprocal()
    total = _rasterize_reference.add_up(weights)
    along = corners[..., :2].roll(-1, dims=1) - corners[..., :2].roll(-2, dims=1)
    # d a_i / d f = (y_j - y_k, x_k - x_j) with j and k the corners after i.
    slope = torch.stack([along[..., 1], -along[..., 0]], dim=-1) / corners[..., 2:]
    of_weights = (slope - (weights / total).T.unsqueeze(-1) * slope.sum(dim=1, keepdim=True)) / total[:, None, None]
    found = torch.einsum("pij,pic->pcj", of_weights, attribute[attribute_faces[face]].to(of_weights.dtype))
    image = found.new_zeros(*fragments.triangle.shape, attribute.shape[-1], 2)
    return image.index_put((view, row, column), found)


def _rasterize_projected(
    projected: Float[Tensor, "batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    size: tuple[int, int],
    near: float,
    cull: bool,
) -> Fragments:
    _validate(projected, faces)
    nvdiffrast = _library.library("rasterize", projected)
    if nvdiffrast is not None and not cull and _nvdiffrast.sees_all(projected, faces, near):
        barycentric, depth, triangle = _nvdiffrast.rasterize(nvdiffrast, projected, faces, size)
        return Fragments(triangle, barycentric, depth)
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
    views = [_rasterize_reference.visible_in_view(view[faces], *size, near, cull) for view in projected]
    triangle, barycentric, depth = (torch.stack(parts) for parts in zip(*views, strict=True))
    return Fragments(triangle, barycentric, depth)
