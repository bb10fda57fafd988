"""Numbers that compare images and shapes."""

import math

import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from dreamkit.mesh import Mesh


def psnr(a: Float[Tensor, "*image channels"], b: Float[Tensor, "*image channels"]) -> float:
    """Peak signal-to-noise ratio of images in [0, 1], `-10 log10(mean((a - b)^2))`, in dB; infinite when equal."""
    error = float((a.double() - b.double()).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def silhouette_iou(a: Float[Tensor, "*image 1"], b: Float[Tensor, "*image 1"]) -> float:
    """Intersection over union of two opacities, `sum min(a, b) / sum max(a, b)`; 1 when both are empty."""
    union = float(torch.maximum(a, b).double().sum())
    return float(torch.minimum(a, b).double().sum()) / union if union > 0 else 1.0


def saturation(color: Float[Tensor, "*image 3"], alpha: Float[Tensor, "*image 1"]) -> float:
    """Mean HSV saturation `(max - min) / max` over the object, weighted by alpha; 0 for black and for nothing.

    `color` is the object's own display colour; over a grey background it may be composited, at a small bias on borders.
    Over-saturation is the first known fault of SDS (arXiv 2305.16213, section 1).
    """
    highest, lowest = color.amax(dim=-1, keepdim=True), color.amin(dim=-1, keepdim=True)
    chroma = (highest - lowest) / highest.clamp_min(1e-8)
    return float((chroma * alpha).sum() / alpha.sum().clamp_min(1e-8))


def sample_surface(mesh: Mesh, count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
    """`count` points, uniform by area: a triangle by its share of it, then `a + sqrt(u) ((b - a) + v (c - b))`."""
    a, b, c = mesh.corners.unbind(dim=1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    if not float(area.sum()) > 0:
        raise ValueError("cannot sample a surface without area")
    chosen = torch.multinomial(area, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, 1, generator=generator, dtype=area.dtype)
    a, b, c = a[chosen], b[chosen], c[chosen]
    return a + u.sqrt() * ((b - a) + v * (c - b))


def chamfer(a: Mesh, b: Mesh, generator: torch.Generator, count: int = 10_000) -> float:
    """Mean distance between two surfaces, `(mean_p min_q |p - q| + mean_q min_p |p - q|) / 2`, in scene units.

    Both are sampled with `count` points, so equal surfaces do not give 0 but about half the samples' spacing,
    `0.5 sqrt(area / count)`.
    """
    p, q = (sample_surface(mesh, count, generator).detach().double().numpy() for mesh in (a, b))
    there, back = KDTree(q).query(p)[0].mean(), KDTree(p).query(q)[0].mean()
    return float(there + back) / 2


def volume_iou(a: Mesh, b: Mesh, resolution: int = 64) -> float:
    """Intersection over union of two closed solids, counted on `resolution`^3 points over their common box."""
    both = torch.cat([a.vertices, b.vertices])
    low, high = both.amin(dim=0), both.amax(dim=0)
    inside_a, inside_b = occupancy(a, low, high, resolution), occupancy(b, low, high, resolution)
    union = int((inside_a | inside_b).sum())
    return int((inside_a & inside_b).sum()) / union if union > 0 else 1.0


def occupancy(
    mesh: Mesh, low: Float[Tensor, "3"], high: Float[Tensor, "3"], resolution: int
) -> Bool[Tensor, "resolution resolution resolution"]:
    """Which middles of a grid's cells (index x, y, z) lie inside a closed mesh.

    A vertical line through each column of cells crosses the surface at heights z_i with sign s_i (entering or leaving);
    a point is inside where the signed crossings above it do not cancel. Columns are shifted by a millionth of a cell,
    off the edges that symmetric meshes have on grid lines.
    """
    scaled = (mesh.vertices.double() - low) / (high - low) * resolution - 0.5 + 1e-6 * torch.tensor([1.0, 1.618, 0.0])
    face, column, height = _columns(scaled[mesh.faces], resolution)
    a, b, c = scaled[mesh.faces[face]].unbind(dim=1)
    sign = torch.linalg.cross(b - a, c - a)[:, 2].sign()
    # A crossing at height h counts for all cells whose middle is below it: add it up there, and sum downwards.
    top = height.ceil().clamp(0, resolution).long()
    crossings = torch.zeros(resolution * resolution, resolution + 1, dtype=torch.float64)
    crossings.index_put_((column, top), sign, accumulate=True)
    above = crossings.flip(1).cumsum(dim=1).flip(1)[:, 1:]
    return (above > 0.5).view(resolution, resolution, resolution)


def _columns(corners: Float[Tensor, "faces 3 3"], resolution: int) -> tuple[Tensor, Tensor, Tensor]:
    """Crossings of the grid's vertical lines with triangles: face, column `x * resolution + y` and height."""
    low = corners[..., :2].amin(dim=1).ceil().clamp_min(0)
    high = corners[..., :2].amax(dim=1).floor().clamp_max(resolution - 1)
    extent = (high - low + 1).clamp_min(0).long()
    count = extent.prod(dim=1)
    face = torch.repeat_interleave(torch.arange(len(corners)), count)
    rank = torch.arange(len(face)) - (count.cumsum(0) - count)[face]
    x, y = low[face, 0] + rank % extent[face, 0], low[face, 1] + rank // extent[face, 0]
    a, b, c = (corners[face, i] for i in range(3))
    point = torch.stack([x, y], dim=-1)
    edge = torch.stack([_cross(b, c, point), _cross(c, a, point), _cross(a, b, point)], dim=-1)
    area = edge.sum(dim=-1)
    inside = ((edge * area.sign().unsqueeze(-1)) > 0).all(dim=-1)
    weights = edge[inside] / area[inside, None]
    height = (weights * corners[face[inside], :, 2]).sum(dim=-1)
    return face[inside], (x * resolution + y).long()[inside], height


def _cross(a: Float[Tensor, "pairs 3"], b: Float[Tensor, "pairs 3"], point: Float[Tensor, "pairs 2"]) -> Tensor:
    p, q = a[:, :2] - point, b[:, :2] - point
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
