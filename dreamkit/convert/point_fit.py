"""The start of a field whose teacher is no field: densities and colours at points, asked once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.convert.field_optimizer import FieldRates
from dreamkit.convert.matching import DensityRange, excess
from dreamkit.convert.to_surface import base_color
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractField

LIMITS = DensityRange(-6.0, 7.0)
"Lower than card 1.4's -2: what is left of a fog there is in nobody's way in a render, but in an exporter's."
COLOR_WEIGHT = 30.0
"Display colours differ by less than log-densities do, and both heads share the encoding."


@dataclass(frozen=True)
class KnownPoints:
    """What a teacher says at points."""

    position: Float[Tensor, "points 3"]
    density: Float[Tensor, " points"]
    "Per scene unit."
    near: Bool[Tensor, " points"]
    "Where there is a colour to be seen."
    color: Float[Tensor, "points 3"]
    "Display colour without light; anything where it is not near."


@dataclass(frozen=True)
class PointFit:
    """`L = mean excess(log sigma, log sigma*)^2 + 30 mean |c - c*|^2` over random points of those that are known.

    Source: method card representations 11.3 b.
    """

    steps: int = 200
    points: int = 4096
    rates: FieldRates = field(default_factory=FieldRates)

    def run(self, known: KnownPoints, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        """Optimise the student, whose shape is a field, in place."""
        shape = student.shape
        assert isinstance(shape, AbstractField)
        optimizer = self.rates.optimizer(shape)
        for step in range(self.steps):
            index = torch.randint(len(known.position), (self.points,), generator=generator)
            position, near = known.position[index], known.near[index]
            loss = excess(shape.density(position), known.density[index], LIMITS).square().mean()
            if near.any():
                off = base_color(student, position[near]) - known.color[index][near]
                loss = loss + COLOR_WEIGHT * off.square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield Step(step + 1, self.steps, float(loss.detach()), stage="fit points")


def anywhere(count: int, radius: float, generator: torch.Generator) -> Float[Tensor, "points 3"]:
    """Random points of the cube [-radius, radius]^3."""
    return (torch.rand(count, 3, generator=generator) * 2 - 1) * radius
