"""A radiance field on a multi-resolution hash grid, with separate density and feature heads."""

from collections.abc import Iterator
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.ops.hash_encode import HashLevels, hash_encode
from dreamkit.representations.base import AbstractField
from dreamkit.representations.density import DensityMap
from dreamkit.representations.perceptron import Perceptron
from dreamkit.schedules import Schedule, value_at

INITIAL_SPREAD = 1e-4
"Table entries start uniform in plus or minus this: small enough that a fresh field is its blob."


class HashField(AbstractField):
    """Instant-NGP encoding, then `sigma = map(W2 relu(W1 e))` and `features = V2 relu(V1 e)`.

    The defaults are the card's: 16 levels of 2^19 entries from resolution 16 to 4096, 64 hidden units, softplus over
    the magic3d blob. `active_levels` may be a ramp over the run: levels beyond it give zeros (progressive bands).
    Sources: arXiv 2201.05989, section 3; method card representations 5.2 and 5.3.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        levels: HashLevels | None = None,
        hidden: int = 64,
        density_map: DensityMap | None = None,
        active_levels: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not radius > 0 or channels < 1:
            raise ValueError(
                f"a HashField needs radius > 0 and channels >= 1; got radius={radius}, channels={channels}"
            )
        self.radius = radius
        self.channels = channels
        self.levels = HashLevels() if levels is None else levels
        self.density_map = DensityMap() if density_map is None else density_map
        self.active_levels = float(self.levels.levels) if active_levels is None else active_levels
        generator = torch.Generator().manual_seed(seed)
        start = torch.rand(self.levels.entries, self.levels.features, generator=generator)
        self.table = nn.Parameter((start * 2 - 1) * INITIAL_SPREAD)
        width = self.levels.levels * self.levels.features
        self.density_head = Perceptron((width, hidden, 1), generator)
        self.feature_head = Perceptron((width, hidden, channels), generator)

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """Encoding of `(x / radius + 1) / 2`; points beyond the cube are moved to its surface."""
        unit = (points * (0.5 / self.radius) + 0.5).clamp(0, 1)
        return hash_encode(unit, self.table, self.levels, self.active(progress))

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """`sigma = map(raw, x)`; the blob is centred at the origin."""
        return self.density_map(self.density_head(encoding).squeeze(-1), points)

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """The feature head's output, without activation."""
        return self.feature_head(encoding)

    def active(self, progress: float = 1.0) -> int:
        """Number of levels in use at `progress`: the schedule's value rounded down, between 1 and all of them."""
        return min(max(int(value_at(self.active_levels, progress)), 1), self.levels.levels)

    def spacing(self, progress: float = 1.0) -> float:
        """`2 radius / (N_min b^(l-1))` for the finest active level l (card 5.4)."""
        return 2 * self.radius / (self.levels.base * self.levels.growth ** (self.active(progress) - 1))

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """The hash table."""
        yield self.table

    def network_parameters(self) -> Iterator[nn.Parameter]:
        """Both heads."""
        return chain(self.density_head.parameters(), self.feature_head.parameters())
