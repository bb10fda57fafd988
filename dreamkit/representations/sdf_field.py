"""A signed distance on a hash grid, seen as density: surfaces that stay surfaces."""

import math
from collections.abc import Iterator
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.ops.hash_encode import HashLevels
from dreamkit.representations.density import DensityMap, volsdf_density
from dreamkit.representations.hash_field import HashField
from dreamkit.schedules import Schedule

RATE = 10.0
"The sharpness is learnt as v, `1/beta = exp(10 v)` (card 5.3)."


class SdfField(HashField):
    """`s(x) = |x| - sphere + v_0(x)`, positive outside; `sigma = (1/b) (1/2 + 1/2 sign(s) expm1(-|s|/b))`.

    v is the 16-vector of a hash grid (`HashField` with `latent`), so that a fresh field is a sphere. The sharpness 1/b
    is learnt, from `inverse_beta` up to `sharpest`: at 80 the halo around a solid ball still costs 5 dB against a sharp
    one (card 5.3), so raise `sharpest` where silhouettes must be exact. Nothing forces |grad s| to be 1; where that
    matters, weigh `regularizers.eikonal` of `distance`'s slope. Normals follow `grad s`, which is alive where the
    density is saturated. Raises ValueError for sizes without meaning. Sources: VolSDF, arXiv 2106.12052; cards 5.3 and
    5.4.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        levels: HashLevels | None = None,
        hidden: int = 64,
        sphere: float = 0.5,
        inverse_beta: float = 30.0,
        sharpest: float = 80.0,
        active_levels: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        still = DensityMap(blob="none")
        super().__init__(radius, channels, levels, hidden, still, active_levels, latent=True, seed=seed)
        if not (sphere > 0 and 0 < inverse_beta <= sharpest):
            raise ValueError(
                f"an SdfField needs sphere > 0 and 0 < inverse_beta <= sharpest; "
                f"got sphere={sphere}, inverse_beta={inverse_beta}, sharpest={sharpest}"
            )
        self.sphere, self.sharpest = sphere, sharpest
        self.sharpness = nn.Parameter(torch.tensor(math.log(inverse_beta) / RATE))

    @property
    def inverse_beta(self) -> Float[Tensor, ""]:
        """`min(exp(10 v), sharpest)`, per scene unit."""
        return torch.exp(RATE * self.sharpness).clamp_max(self.sharpest)

    def distance(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, " points"]:
        """`s(x)` in scene units, positive outside."""
        return self.decode_distance(self.encode(points, progress), points)

    def decode_distance(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """`s(x)` from the encoding of `points`."""
        # The floor inside the root keeps the slope at the origin finite.
        return points.square().sum(dim=-1).clamp_min(1e-12).sqrt() - self.sphere + encoding[:, 0]

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """VolSDF's density of the distance."""
        return volsdf_density(self.decode_distance(encoding, points), self.inverse_beta)

    def decode_inside(
        self,
        encoding: Float[Tensor, "points width"],
        points: Float[Tensor, "points 3"],
        density: Float[Tensor, " points"],
    ) -> Float[Tensor, " points"]:
        """`-s(x)`: it falls outwards everywhere, where the density is flat too."""
        return -self.decode_distance(encoding, points)

    def network_parameters(self) -> Iterator[nn.Parameter]:
        """The networks and the sharpness."""
        return chain(super().network_parameters(), (self.sharpness,))
