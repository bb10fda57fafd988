"""From a mesh to signed distances: closest triangle for the distance, winding number for the sign (through libigl)."""

from dataclasses import dataclass

import igl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.representations.nearest_point import contiguous, nearest_point


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
    found = nearest_point(mesh, points)
    winding = igl.fast_winding_number(contiguous(mesh.vertices), contiguous(mesh.faces), contiguous(points))
    inside = torch.from_numpy(np.abs(winding) > 0.5).to(points.device)
    distance = found.squared.sqrt()
    return NearestSurface(torch.where(inside, -distance, distance), found.face, found.point)


def signed_distance(mesh: Mesh, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
    """Distance to the surface in scene units, negative inside; see `nearest_surface`."""
    return nearest_surface(mesh, points).distance
