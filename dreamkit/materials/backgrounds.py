"""What is behind the object. Source: method cards representations 5.6 and guidance 14.7."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.representations.perceptron import Perceptron

RGB = tuple[float, float, float]


class AbstractBackground(nn.Module, ABC):
    """Display colour for rays that leave the scene.

    With a generator it is a training background and may be random; without, it is deterministic.
    """

    @abstractmethod
    def color(
        self, directions: Float[Tensor, "batch height width 3"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width 3"]:
        """Display colour in [0, 1] behind each ray; `directions` are unit vectors from the camera."""


class Solid(AbstractBackground):
    """One colour, always."""

    def __init__(self, rgb: RGB = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.rgb = _checked(rgb)

    def color(
        self, directions: Float[Tensor, "batch height width 3"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width 3"]:
        """The colour, everywhere."""
        return directions.new_tensor(self.rgb).expand_as(directions)


class RandomSolid(AbstractBackground):
    """A new uniform grey (or colour) for each view in training, so that nothing can hide in front of a known one."""

    def __init__(self, rgb: RGB = (0.5, 0.5, 0.5), grey: bool = True) -> None:
        super().__init__()
        self.rgb = _checked(rgb)
        self.grey = grey

    def color(
        self, directions: Float[Tensor, "batch height width 3"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width 3"]:
        """One draw a view with a generator; `rgb` without."""
        if generator is None:
            return directions.new_tensor(self.rgb).expand_as(directions)
        return _random_color(directions, 1 if self.grey else 3, generator).expand_as(directions)


class Environment(AbstractBackground):
    """A learnt colour for each direction: `sigmoid(mlp(sh(d)))`, spherical harmonics to degree 3, two layers of 16.

    In training, a view's background is replaced by a random colour with probability `replaced`. Keep its learning rate
    at a tenth of the object's or less: a background that learns too well absorbs the object.
    """

    def __init__(self, hidden: int = 16, replaced: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= replaced <= 1:
            raise ValueError(f"replaced is a probability in [0, 1]; got {replaced}")
        self.replaced = replaced
        self.network = Perceptron((16, hidden, hidden, 3), torch.Generator().manual_seed(seed))

    def color(
        self, directions: Float[Tensor, "batch height width 3"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width 3"]:
        """The learnt colour; with a generator, some views get one random colour instead."""
        learnt = torch.sigmoid(self.network(spherical_harmonics(directions.reshape(-1, 3)))).view_as(directions)
        if generator is None:
            return learnt
        chance = torch.rand(len(directions), 1, 1, 1, generator=generator, device=generator.device).to(learnt)
        return torch.where(chance < self.replaced, _random_color(directions, 3, generator), learnt)


def spherical_harmonics(directions: Float[Tensor, "points 3"]) -> Float[Tensor, "points 16"]:
    """Real orthonormal spherical harmonics of degrees 0 to 3 at unit directions; `integral Y_i Y_j = delta_ij`.

    Order: degree l ascending, in each m = -l..l, with the polar axis along z (Condon-Shortley signs left out).
    """
    x, y, z = directions.unbind(dim=-1)
    xx, yy, zz = x * x, y * y, z * z
    pi = math.pi
    values = [
        torch.full_like(x, 0.5 / math.sqrt(pi)),
        *(math.sqrt(3 / (4 * pi)) * axis for axis in (y, z, x)),
        math.sqrt(15 / (4 * pi)) * x * y,
        math.sqrt(15 / (4 * pi)) * y * z,
        math.sqrt(5 / (16 * pi)) * (3 * zz - 1),
        math.sqrt(15 / (4 * pi)) * x * z,
        math.sqrt(15 / (16 * pi)) * (xx - yy),
        math.sqrt(35 / (32 * pi)) * y * (3 * xx - yy),
        math.sqrt(105 / (4 * pi)) * x * y * z,
        math.sqrt(21 / (32 * pi)) * y * (5 * zz - 1),
        math.sqrt(7 / (16 * pi)) * z * (5 * zz - 3),
        math.sqrt(21 / (32 * pi)) * x * (5 * zz - 1),
        math.sqrt(105 / (16 * pi)) * z * (xx - yy),
        math.sqrt(35 / (32 * pi)) * x * (xx - 3 * yy),
    ]
    return torch.stack(values, dim=-1)


def _random_color(
    directions: Float[Tensor, "batch height width 3"], channels: int, generator: torch.Generator
) -> Float[Tensor, "batch 1 1 channels"]:
    draw = torch.rand(len(directions), 1, 1, channels, generator=generator, device=generator.device)
    return draw.to(directions)


def _checked(rgb: RGB) -> RGB:
    if len(rgb) != 3 or not all(0 <= value <= 1 for value in rgb):
        raise ValueError(f"a background colour is three display values in [0, 1]; got {rgb}")
    return rgb
