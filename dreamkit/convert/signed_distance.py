"""From a mesh to signed distances: closest triangle for the distance, winding number for the sign (through libigl)."""

from dataclasses import dataclass

import igl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.mesh import Mesh


@dataclass(frozen=True)
class NearestSurface:
    """A mesh as seen from a list of points."""

    distance: Float[Tensor, " points"]
    "To the nearest point of the surface, negative inside; scene units."
    face: Int[Tensor, " points"]
    point: Float[Tensor, "points 3"]
    "The nearest point of the surface."


def nearest_surface(mesh: Mesh, points: Float[Tensor, "points 3"]) -> NearestSurface:
    """Signed distance, nearest face and nearest point of each point.

    A point is inside where the generalised winding number, by the fast approximation of Barill et al. (2018), is beyond
    1/2 either way: holes are closed, overlaps and inner walls do no harm (card 11.3 a), and a mesh whose faces all look
    inwards is read as if they did not. Raises ValueError for an empty mesh.
    """
    if not len(mesh.faces):
        raise ValueError("a mesh without faces has no distance; is the file empty?")
    vertices = np.ascontiguousarray(mesh.vertices.detach().cpu().double().numpy())
    faces = np.ascontiguousarray(mesh.faces.cpu().numpy())
    queries = np.ascontiguousarray(points.detach().cpu().double().numpy())
    squared, face, nearest = igl.point_mesh_squared_distance(queries, vertices, faces)
    winding = igl.fast_winding_number(vertices, faces, queries)
    distance = np.sqrt(squared) * np.where(np.abs(winding) > 0.5, -1.0, 1.0)
    return NearestSurface(
        torch.from_numpy(distance).to(points),
        torch.from_numpy(np.asarray(face).astype(np.int64).reshape(-1)).to(mesh.faces),
        torch.from_numpy(np.asarray(nearest)).to(points),
    )


def signed_distance(mesh: Mesh, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
    """Distance to the surface in scene units, negative inside; see `nearest_surface`."""
    return nearest_surface(mesh, points).distance
