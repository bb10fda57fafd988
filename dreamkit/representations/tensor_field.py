"""TensoRF: radiance fields as sums of products of planes and lines (VM), or of lines alone (CP)."""

from abc import abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.representations.density import DensityMap
from dreamkit.representations.latent_field import LATENT, LatentField
from dreamkit.representations.lattice import lookup
from dreamkit.representations.perceptron import Perceptron

_ACROSS = ((0, 1), (0, 2), (1, 2))
"Axes of each plane; the line runs along the axis that is left."
_ALONG = (2, 1, 0)


class AbstractTensorField(LatentField):
    """A low-rank grid: `v_0 = sum_r p_r(x)` over the density's products, `v_1..15 = B q(x)`, q the features' products.

    Kinds differ in what a product is. There is no network before the 16-vector but the linear basis B. Source:
    TensoRF, arXiv 2203.09517; method card representations 1.3.
    """

    def __init__(
        self,
        radius: float,
        channels: int,
        resolution: int,
        ranks: tuple[int, int],
        terms: int,
        hidden: int,
        density_map: DensityMap | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__(radius, channels, hidden, density_map, generator)
        if resolution < 2 or min(ranks) < 1:
            raise ValueError(
                f"{type(self).__name__} needs resolution >= 2 and ranks >= 1; "
                f"got resolution={resolution}, density_rank={ranks[0]}, feature_rank={ranks[1]}"
            )
        self.resolution, self.density_rank = resolution, ranks[0]
        self.basis = Perceptron((terms * ranks[1], LATENT - 1), generator)

    @abstractmethod
    def products(self, unit: Float[Tensor, "points 3"]) -> Float[Tensor, "points terms rank"]:
        """The products at points of the unit cube; the first `density_rank` of each term are the density's."""

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """The 16-vector; points beyond the cube are moved to its surface."""
        products = self.products(self.unit(points))
        raw = products[..., : self.density_rank].sum(dim=(1, 2))
        return torch.cat([raw[:, None], self.basis(products[..., self.density_rank :].flatten(1))], dim=-1)

    def spacing(self, progress: float = 1.0) -> float:
        """Edge of a cell."""
        return 2 * self.radius / (self.resolution - 1)

    def place_parameters(self) -> Iterator[nn.Parameter]:
        """The basis."""
        return self.basis.parameters()


class VmField(AbstractTensorField):
    """Vector-matrix: a product is a plane times the line across it, `P_r(x, y) L_r(z)`, for each of three directions.

    Entries start as `0.1 N(0, 1)`. The defaults are the card's: resolution 300, ranks 16 and 48 for each direction.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        resolution: int = 300,
        density_rank: int = 16,
        feature_rank: int = 48,
        hidden: int = 64,
        density_map: DensityMap | None = None,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        ranks = (density_rank, feature_rank)
        super().__init__(radius, channels, resolution, ranks, 3, hidden, density_map, generator)
        self.planes = nn.Parameter(torch.randn(3, resolution**2, sum(ranks), generator=generator) * 0.1)
        self.lines = nn.Parameter(torch.randn(3, resolution, sum(ranks), generator=generator) * 0.1)

    def products(self, unit: Float[Tensor, "points 3"]) -> Float[Tensor, "points terms rank"]:
        """`P(x, y) L(z)`, `P(x, z) L(y)`, `P(y, z) L(x)`."""
        planes = [lookup(unit[:, _ACROSS[i]], self.planes[i], self.resolution) for i in range(3)]
        lines = [lookup(unit[:, [_ALONG[i]]], self.lines[i], self.resolution) for i in range(3)]
        return torch.stack(planes, dim=1) * torch.stack(lines, dim=1)

    def density_magnitude(self) -> Float[Tensor, ""]:
        """Mean absolute value of the density's planes plus that of its lines: TensoRF's L1 (its section 4.4)."""
        return self.planes[..., : self.density_rank].abs().mean() + self.lines[..., : self.density_rank].abs().mean()

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """Planes and lines."""
        yield self.planes
        yield self.lines


class CpField(AbstractTensorField):
    """Canonical polyadic: a product is one line along each axis, `X_r(x) Y_r(y) Z_r(z)`: the smallest field of all.

    Entries start as `0.2 N(0, 1)`. Absent from PVD's code (card 1.2); ranks as in TensoRF's section 4 (96 and 288).
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        resolution: int = 300,
        density_rank: int = 96,
        feature_rank: int = 288,
        hidden: int = 64,
        density_map: DensityMap | None = None,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        ranks = (density_rank, feature_rank)
        super().__init__(radius, channels, resolution, ranks, 1, hidden, density_map, generator)
        self.lines = nn.Parameter(torch.randn(3, resolution, sum(ranks), generator=generator) * 0.2)

    def products(self, unit: Float[Tensor, "points 3"]) -> Float[Tensor, "points terms rank"]:
        """`X(x) Y(y) Z(z)`."""
        x, y, z = (lookup(unit[:, [axis]], self.lines[axis], self.resolution) for axis in range(3))
        return (x * y * z)[:, None]

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """The lines."""
        yield self.lines
