"""Fields that speak PVD's common language: [log-density, 15 features] at each point, then one small decoder."""

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.representations.base import AbstractField
from dreamkit.representations.density import DensityMap
from dreamkit.representations.perceptron import Perceptron

LATENT = 16
"Width of the vector: the density before its map, and 15 features of the place."


def feature_decoder(channels: int, hidden: int, generator: torch.Generator) -> Perceptron:
    """The network from the 15 features to raw material channels, 15 -> hidden -> hidden -> channels (card 1.3).

    PVD's network also reads the direction of view; ours does not, because materials read what holds from all sides. It
    starts with weights that keep variances: with smaller ones a checkered house stayed plain, 22 dB instead of 38.
    """
    return Perceptron((LATENT - 1, hidden, hidden, channels), generator, gain=math.sqrt(6))


class LatentField(AbstractField):
    """`encode` gives the 16-vector (PVD's block 1); `sigma = map(v_0, x)`, `features = decoder(v_1..15)` (block 2).

    Because all kinds emit the same vector, one can be fitted to another before anything is rendered, and a decoder can
    be handed on as it is. Raises ValueError for a radius or channels without meaning. Source: PVD, arXiv 2211.15977;
    method card representations 1.3.
    """

    def __init__(
        self, radius: float, channels: int, hidden: int, density_map: DensityMap | None, generator: torch.Generator
    ) -> None:
        super().__init__()
        check_size(self, radius, channels)
        self.radius, self.channels = radius, channels
        self.density_map = DensityMap() if density_map is None else density_map
        self.feature_head = feature_decoder(channels, hidden, generator)

    @abstractmethod
    def place_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the encoding that every point uses (its networks); none for pure grids."""

    def unit(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """`(x / radius + 1) / 2`, moved into the unit cube."""
        return (points * (0.5 / self.radius) + 0.5).clamp(0, 1)

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """`sigma = map(v_0, x)`; the blob is centred at the origin."""
        return self.density_map(encoding[:, 0], points)

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """The decoder's output, without activation."""
        return self.feature_head(encoding[:, 1:])

    def latent(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points features"]:
        """The 15 features behind the density."""
        return encoding[:, 1:]

    def network_parameters(self) -> Iterator[nn.Parameter]:
        """The encoding's networks and the decoder."""
        yield from self.place_parameters()
        yield from self.feature_head.parameters()


def check_size(field: AbstractField, radius: float, channels: int) -> None:
    """Raise ValueError unless the cube has a size and there is a channel."""
    if not radius > 0 or channels < 1:
        raise ValueError(
            f"{type(field).__name__} needs radius > 0 and channels >= 1; got radius={radius}, channels={channels}"
        )
