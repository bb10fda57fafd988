"""FlexiCubes: a surface of quads out of a grid of signed distances, with vertices that can move to sharp corners."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.mesh import Mesh
from dreamkit.ops.flexicubes import (
    CubeWeights,
    DualCut,
    crossing_points,
    cut_cubes,
    developability,
    dual_vertices,
    triangles,
)
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.rendering import SurfaceState
from dreamkit.representations.grid_surface import GridSurface
from dreamkit.schedules import Schedule


class FlexiMesh(GridSurface):
    """`GridSurface` by dual contours: a vertex for each loop of crossed edges of a cube, a quad for each crossed edge.

    Each cube learns 21 numbers w: `alpha, beta = 0.99 tanh(w) + 1` at corners and edges, `gamma = 0.99 sigmoid(w) +
    0.005`. In training a quad is a fan of four triangles (gamma moves its hub), in evaluation two. A third of TetMesh's
    triangles at the same resolution, better shaped, and sharp corners. Sources: arXiv 2308.05371; card rep 7.6.
    """

    paper = "2308.05371"

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        resolution: int = 32,
        size: tuple[float, float, float] = (0.5, 0.5, 0.5),
        levels: HashLevels | None = None,
        hidden: int = 32,
        active_levels: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(radius, channels, resolution, size, levels, hidden, active_levels, seed)
        self.weights = nn.Parameter(torch.zeros(resolution**3, 21))

    def surface(self, progress: float = 1.0) -> SurfaceState:
        """The mesh, the distances at both ends of the crossed edges, and how far vertices are from developable."""
        distance, positions = self.signed_distance(), self.positions()
        cut = cut_cubes(distance.detach() < 0, self.resolution)
        weights = self.cube_weights(cut)
        points = crossing_points(positions, distance, cut, weights.corner, self.resolution)
        vertices = dual_vertices(points, cut, weights.edge)
        mesh = Mesh(*triangles(vertices, cut, weights.split, fan=self.training))
        return SurfaceState(mesh, self._crossed(distance), deviation=developability(points, vertices, cut))

    def cube_weights(self, cut: DualCut) -> CubeWeights:
        """The activated weights of the cubes that are crossed."""
        raw = self.weights[cut.cubes]
        near_one = 0.99 * torch.tanh(raw[:, :20]) + 1
        return CubeWeights(near_one[:, :8], near_one[:, 8:], 0.99 * torch.sigmoid(raw[:, 20]) + 0.005)

    def geometry_parameters(self) -> tuple[nn.Parameter, ...]:
        """Distances, shifts and the cubes' weights."""
        return *super().geometry_parameters(), self.weights

    def _crossed(self, distance: Float[Tensor, " vertices"]) -> Float[Tensor, "edges 2"]:
        side = self.resolution + 1
        grid = distance.view(side, side, side)
        ends = [
            torch.stack([grid.narrow(axis, 0, side - 1), grid.narrow(axis, 1, side - 1)], dim=-1).view(-1, 2)
            for axis in range(3)
        ]
        pairs = torch.cat(ends)
        return pairs[(pairs[:, 0] < 0) != (pairs[:, 1] < 0)]
