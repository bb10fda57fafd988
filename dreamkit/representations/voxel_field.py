"""A radiance field that is nothing but numbers on a grid: what can be edited by hand."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.representations.base import AbstractField
from dreamkit.representations.density import DensityMap
from dreamkit.representations.latent_field import check_size
from dreamkit.representations.lattice import lookup
from dreamkit.schedules import Schedule, value_at

INITIAL_SPREAD = 0.02
"Standard deviation of fresh entries (card 1.3)."


class VoxelField(AbstractField):
    """Density and raw channels at the vertices of grids, trilinear in between: no network.

    `(raw, features)(x) = sum_l trilinear(grid_l, x)`. With one resolution it is the card's `tensors`, a dense
    Plenoxels; with several, coarse grids carry what is smooth, so that a gradient reaches beyond its own cells;
    `active_grids` opens them over the run. Colour has no spherical harmonics: materials read channels that hold from
    all sides. Dense, because at the sizes that fit our cube (128^3 of 4 channels: 34 MB) a sparse table saves less than
    its indirection costs; rays skip empty cells by the occupancy grid instead. Raises ValueError for sizes without
    meaning. Sources: Plenoxels, arXiv 2112.05131, section 3; method card representations 1.3.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        resolutions: tuple[int, ...] = (128,),
        density_map: DensityMap | None = None,
        active_grids: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_size(self, radius, channels)
        if not resolutions or min(resolutions) < 2 or list(resolutions) != sorted(resolutions):
            raise ValueError(f"a VoxelField needs rising resolutions of at least 2; got {list(resolutions)}")
        self.radius, self.channels, self.resolutions = radius, channels, resolutions
        self.density_map = DensityMap() if density_map is None else density_map
        self.active_grids = float(len(resolutions)) if active_grids is None else active_grids
        generator = torch.Generator().manual_seed(seed)
        self.grids = nn.ParameterList(
            nn.Parameter(torch.randn(size**3, 1 + channels, generator=generator) * (INITIAL_SPREAD / len(resolutions)))
            for size in resolutions
        )

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """`(raw density, raw channels)`; points beyond the cube are moved to its surface."""
        unit = (points * (0.5 / self.radius) + 0.5).clamp(0, 1)
        grids = list(zip(self.grids, self.resolutions, strict=True))[: self.active(progress)]
        return torch.stack([lookup(unit, grid, size) for grid, size in grids]).sum(dim=0)

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """`sigma = map(raw, x)`."""
        return self.density_map(encoding[:, 0], points)

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """The channels as they are stored."""
        return encoding[:, 1:]

    def active(self, progress: float = 1.0) -> int:
        """Number of grids in use at `progress`."""
        return min(max(int(value_at(self.active_grids, progress)), 1), len(self.resolutions))

    def spacing(self, progress: float = 1.0) -> float:
        """Edge of a cell of the finest active grid."""
        return 2 * self.radius / (self.resolutions[self.active(progress) - 1] - 1)

    def vertices(self) -> Float[Tensor, "vertices 3"]:
        """Where the finest grid's entries stand, row by row, in scene units."""
        line = torch.linspace(-self.radius, self.radius, self.resolutions[-1], device=self.grids[-1].device)
        return torch.cartesian_prod(line, line, line)

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """The grids."""
        return self.grids.parameters()

    def network_parameters(self) -> Iterator[nn.Parameter]:
        """None."""
        return iter(())
