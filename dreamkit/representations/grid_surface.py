"""A surface that is cut out of a grid of signed distances: what tetrahedral and cubic grids have in common."""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dreamkit.mesh import Mesh
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.ops.marching_tets import grid_points
from dreamkit.rendering import SurfaceState
from dreamkit.representations.base import AbstractSurface, ParameterGroup
from dreamkit.representations.texture_field import TextureField
from dreamkit.schedules import Schedule


class GridSurface(AbstractSurface):
    """Signed distances s (negative inside) and shifts d on the corners of a grid over the cube [-radius, radius]^3.

    There are `resolution`^3 cubes. A corner stands at `x + tanh(d) cell / 2`. The start is the ellipsoid of semi-axes
    `size`, `s = min(size) (|x / size| - 1)`. Two rules keep a surface there: where no inner corner is inside, all
    distances are lowered together until the least is minus half a cell (a vanished surface has no gradient); and
    corners on the cube's border are at least half a cell outside, so it is closed. Source: card rep 7.2 and 7.4.
    """

    border: Tensor
    corners: Tensor

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
        super().__init__()
        if resolution < 2 or not min(size) > 0:
            raise ValueError(
                f"a grid of distances needs resolution >= 2 and positive semi-axes; got resolution={resolution}, "
                f"size={size}"
            )
        self.radius, self.channels, self.resolution = radius, channels, resolution
        self.texture = TextureField(radius, channels, levels, hidden, active_levels, seed)
        half = torch.full((3,), float(radius))
        self.register_buffer("corners", grid_points(resolution, -half, half), persistent=False)
        self.register_buffer("border", _border(resolution), persistent=False)
        axes = torch.tensor(size)
        self.distance = nn.Parameter(float(axes.min()) * ((self.corners / axes).norm(dim=-1) - 1))
        self.shift = nn.Parameter(torch.zeros_like(self.corners))

    @property
    def cell(self) -> float:
        """Edge of a cube of the grid, in scene units."""
        return 2 * self.radius / self.resolution

    def signed_distance(self) -> Float[Tensor, " vertices"]:
        """The distances by the class's two rules."""
        half = 0.5 * self.cell
        least = self.distance.detach()[~self.border].min()
        lowered = self.distance - (least + half) if least >= 0 else self.distance
        return torch.where(self.border, lowered.clamp_min(half), lowered)

    def positions(self) -> Float[Tensor, "vertices 3"]:
        """The corners where they stand."""
        return self.corners + torch.tanh(self.shift) * (0.5 * self.cell)

    @torch.no_grad()
    def assign(self, distance: Float[Tensor, " vertices"]) -> None:
        """Take over signed distances at `corners` (a mesh's, a field's), clamped to three cells, and undo all shifts.

        Beyond some cells only the sign matters, and a clamped distance can still change it (card 11.3 a). Raises
        ValueError where no corner is inside.
        """
        if not bool((distance < 0).any()):
            raise ValueError(
                f"no corner of the {self.resolution}^3 grid is inside the shape; it is thinner than a cell of "
                f"{self.cell:.3f}, or lies outside the cube of radius {self.radius}: raise the resolution or rescale it"
            )
        self.distance.copy_(distance.clamp(-3 * self.cell, 3 * self.cell))
        self.shift.zero_()

    def features(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """The texture field's channels."""
        return self.texture(points, progress)

    def mesh(self, progress: float = 1.0) -> Mesh:
        """The surface, differentiable in distances and shifts."""
        return self.surface(progress).mesh

    @abstractmethod
    def surface(self, progress: float = 1.0) -> SurfaceState:
        """The mesh, and what regularisers want to know of the grid."""

    def geometry_parameters(self) -> tuple[nn.Parameter, ...]:
        """What the learning rate "geometry" is for."""
        return self.distance, self.shift

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """ "geometry", "encoding" and "networks"."""
        return ParameterGroup("geometry", self.geometry_parameters()), *self.texture.parameter_groups()


def _border(resolution: int) -> Bool[Tensor, " vertices"]:
    inner = torch.zeros(resolution + 1, dtype=torch.bool)
    inner[1:-1] = True
    return ~(inner[:, None, None] & inner[:, None] & inner).reshape(-1)
