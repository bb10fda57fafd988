"""A radiance field on three axis-aligned planes of features."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.names import check_choice
from dreamkit.representations.density import DensityMap
from dreamkit.representations.latent_field import LATENT, LatentField
from dreamkit.representations.lattice import lookup
from dreamkit.representations.perceptron import Perceptron
from dreamkit.schedules import Schedule, value_at

AXES = ((0, 1), (0, 2), (1, 2))
"The coordinates that each plane reads."


class TriplaneField(LatentField):
    """`e_l(x) = P_l(x, y) + Q_l(x, z) + R_l(y, z)` at each resolution l, then a network to the 16-vector.

    `combine = "product"` multiplies the planes instead (K-planes, arXiv 2301.10241): it separates better what only
    looks alike along an axis, and starts near 1 rather than near 0. `active_planes` opens the resolutions over the run;
    closed ones give zeros. Raises ValueError for sizes without meaning. Source of the sum: EG3D, arXiv 2112.07945.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        resolutions: tuple[int, ...] = (32, 64, 128),
        features: int = 16,
        hidden: int = 64,
        combine: str = "sum",
        density_map: DensityMap | None = None,
        active_planes: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        super().__init__(radius, channels, hidden, density_map, generator)
        check_choice("way to combine planes", combine, ("sum", "product"))
        if not resolutions or min(resolutions) < 2 or list(resolutions) != sorted(resolutions) or features < 1:
            raise ValueError(
                f"a TriplaneField needs rising resolutions of at least 2 and features >= 1; "
                f"got resolutions={list(resolutions)}, features={features}"
            )
        self.resolutions, self.features_per_plane, self.combine = resolutions, features, combine
        self.active_planes = float(len(resolutions)) if active_planes is None else active_planes
        middle, spread = (1.0, 0.1) if combine == "product" else (0.0, 0.01)
        self.planes = nn.ParameterList(
            nn.Parameter(middle + spread * torch.randn(3, size**2, features, generator=generator))
            for size in resolutions
        )
        self.trunk = Perceptron((len(resolutions) * features, hidden, LATENT), generator)

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """The 16-vector; points beyond the cube are moved to its surface."""
        unit, active = self.unit(points), self.active(progress)
        read = [self._read(unit, i) for i in range(active)]
        closed = unit.new_zeros(len(unit), (len(self.resolutions) - active) * self.features_per_plane)
        return self.trunk(torch.cat([*read, closed], dim=-1))

    def _read(self, unit: Float[Tensor, "points 3"], i: int) -> Float[Tensor, "points features"]:
        a, b, c = (lookup(unit[:, AXES[j]], self.planes[i][j], self.resolutions[i]) for j in range(3))
        return a * b * c - 1 if self.combine == "product" else a + b + c

    def active(self, progress: float = 1.0) -> int:
        """Number of resolutions in use at `progress`."""
        return min(max(int(value_at(self.active_planes, progress)), 1), len(self.resolutions))

    def spacing(self, progress: float = 1.0) -> float:
        """Edge of a cell of the finest active planes."""
        return 2 * self.radius / (self.resolutions[self.active(progress) - 1] - 1)

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """The planes."""
        return self.planes.parameters()

    def place_parameters(self) -> Iterator[nn.Parameter]:
        """The network from planes to the 16-vector."""
        return self.trunk.parameters()
