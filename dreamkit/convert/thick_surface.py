"""A surface that is asked as a volume: VolSDF's density of its signed distance, colours of its nearest point."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.explicit_grid import Answer
from dreamkit.convert.signed_distance import nearest_surface, signed_distance
from dreamkit.mesh import Mesh
from dreamkit.representations.base import AbstractSurface
from dreamkit.representations.density import volsdf_density
from dreamkit.representations.nearest_point import barycentric

BLOCK = 1 / 12
"Edge of the blocks that are asked first, in radii."
REACH = 10.0
"Widths beyond which density and distance are over: `exp(-10) / 2` of the density inside."


@dataclass(frozen=True)
class ThickSurface:
    """`sigma(x) = volsdf(s(x), 1 / width)` with the mesh's signed distance s, and channels at the nearest point.

    A distance cannot change by more than the way, so that one point of a block answers for all that is far from the
    surface: a grid of 96^3 asks an eighth of its vertices. There the channels are zero. Card representations 11.3 b.
    """

    shape: AbstractSurface
    mesh: Mesh
    width: float

    @torch.no_grad()
    def __call__(self, points: Float[Tensor, "points 3"]) -> Answer:
        """Densities per scene unit, and raw channels."""
        distance = self._rough_distance(points)
        close = (distance.abs() < REACH * self.width).nonzero().squeeze(-1)
        channels = points.new_zeros(len(points), self.shape.channels)
        if len(close):
            found = nearest_surface(self.mesh, points[close])
            distance[close] = found.distance
            weights = barycentric(self.mesh.corners[found.face], found.point)
            channels[close] = self.shape.features_on(found.point, found.face, weights)
        return volsdf_density(distance, 1 / self.width), channels

    def _rough_distance(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Never farther from zero than the true one, and of its sign where it is not zero."""
        size = BLOCK * self.shape.radius
        blocks, block = torch.unique((points / size).round(), dim=0, return_inverse=True)
        centre = blocks * size
        there = signed_distance(self.mesh, centre)[block]
        left = (there.abs() - (points - centre[block]).norm(dim=-1)).clamp_min(0)
        return left * there.sign()
