"""A radiance field on a multi-resolution hash grid, with separate density and feature heads."""

from collections.abc import Iterator
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.ops.hash_encode import HashLevels, hash_encode
from dreamkit.representations.base import AbstractField
from dreamkit.representations.density import DensityMap
from dreamkit.representations.latent_field import LATENT, check_size, feature_decoder
from dreamkit.representations.perceptron import Perceptron
from dreamkit.schedules import Schedule, value_at

INITIAL_SPREAD = 1e-4
"Table entries start uniform in plus or minus this: small enough that a fresh field is its blob."


class HashField(AbstractField):
    """Instant-NGP encoding, then `sigma = map(W2 relu(W1 e))` and `features = V2 relu(V1 e)`.

    With `latent`, one network gives PVD's 16-vector v instead, `v = W2 relu(W1 e)`, and `sigma = map(v_0)`,
    `features = decoder(v_1..15)` (card 1.3): a field that other kinds can learn from before anything is rendered.
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
        latent: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_size(self, radius, channels)
        self.radius = radius
        self.channels = channels
        self.levels = HashLevels() if levels is None else levels
        self.density_map = DensityMap() if density_map is None else density_map
        self.active_levels = float(self.levels.levels) if active_levels is None else active_levels
        generator = torch.Generator().manual_seed(seed)
        start = torch.rand(self.levels.entries, self.levels.features, generator=generator)
        self.table = nn.Parameter((start * 2 - 1) * INITIAL_SPREAD)
        width = self.levels.levels * self.levels.features
        self.trunk = Perceptron((width, hidden, LATENT), generator) if latent else None
        self.density_head = None if latent else Perceptron((width, hidden, 1), generator)
        sizes = (width, hidden, channels)
        self.feature_head = feature_decoder(channels, hidden, generator) if latent else Perceptron(sizes, generator)

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """Encoding of `(x / radius + 1) / 2`; points beyond the cube are moved to its surface."""
        unit = (points * (0.5 / self.radius) + 0.5).clamp(0, 1)
        encoding = hash_encode(unit, self.table, self.levels, self.active(progress))
        return encoding if self.trunk is None else self.trunk(encoding)

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """`sigma = map(raw, x)`; the blob is centred at the origin."""
        raw = encoding[:, 0] if self.density_head is None else self.density_head(encoding).squeeze(-1)
        return self.density_map(raw, points)

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """The feature head's output, without activation."""
        return self.feature_head(encoding if self.trunk is None else encoding[:, 1:])

    def latent(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points features"] | None:
        """The 15 features where there are any; None for a field whose heads read the grid directly."""
        return None if self.trunk is None else encoding[:, 1:]

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
        """The networks."""
        networks = (self.trunk, self.density_head, self.feature_head)
        return chain.from_iterable(network.parameters() for network in networks if network is not None)
