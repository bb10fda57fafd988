"""Where on a mesh a point is nearest to it (through libigl)."""

from dataclasses import dataclass

import igl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.vectors import dot


@dataclass(frozen=True)
class NearestPoint:
    """For each of a list of points, the nearest point of a mesh."""

    squared: Float[Tensor, " points"]
    "Squared distance between the two; squared scene units."
    face: Int[Tensor, " points"]
    point: Float[Tensor, "points 3"]


def nearest_point(mesh: Mesh, points: Float[Tensor, "points 3"]) -> NearestPoint:
    """The nearest point of the surface to each point, in float64 and without a graph.

    Raises ValueError for an empty mesh.
    """
    if not len(mesh.faces):
        raise ValueError("a mesh without faces has no distance; is the file empty?")
    vertices, faces, queries = (contiguous(part) for part in (mesh.vertices, mesh.faces, points))
    squared, face, nearest = igl.point_mesh_squared_distance(queries, vertices, faces)
    return NearestPoint(
        torch.from_numpy(np.asarray(squared).reshape(-1)).to(points),
        torch.from_numpy(np.asarray(face).astype(np.int64).reshape(-1)).to(mesh.faces),
        torch.from_numpy(np.asarray(nearest)).to(points),
    )


def contiguous(values: Tensor) -> np.ndarray:
    """The numbers as libigl wants them: float64 or int64, row after row."""
    values = values.detach().cpu()
    return np.ascontiguousarray((values.double() if values.is_floating_point() else values.long()).numpy())


def barycentric(corners: Float[Tensor, "points 3 3"], points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """Weights w of the triangles' corners with `sum_i w_i = 1` and `sum_i w_i corner_i = point`, for points in them.

    `w_a = ((b - p) x (c - p)) . n / |n|^2`, `n = (b - a) x (c - a)`; a triangle without an area gives its first corner.
    """
    a, b, c = corners.unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    parts = [torch.linalg.cross(q - points, r - points) for q, r in ((b, c), (c, a), (a, b))]
    area = normal.square().sum(dim=-1, keepdim=True)
    weights = torch.cat([dot(part, normal) for part in parts], dim=-1) / area.clamp_min(1e-30)
    first = torch.tensor([1.0, 0.0, 0.0]).to(weights)
    return torch.where(area > 1e-30, weights, first)
