"""A slow copy of the student that steadies it: the mean of its past as a second teacher."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.matching import frobenius, log_density
from dreamkit.representations.base import AbstractShape, AbstractVolume


class MomentumTeacher:
    """`theta <- m theta + (1 - m) theta_student` after each step; at the end the student takes theta.

    Source: Momentum-GS (arXiv 2412.04887); method card representations 2.3, with m = 0.9 there. Raises ValueError
    unless 0 <= m < 1.
    """

    def __init__(self, student: AbstractShape, momentum: float) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"a momentum is at least 0 and below 1; got {momentum}")
        self.shape, self.momentum = copy.deepcopy(student).requires_grad_(False), momentum

    def disagreement(self, student: AbstractVolume, count: int, generator: torch.Generator) -> Float[Tensor, ""]:
        """Norm of the difference of log-densities and raw channels at `count` random points of the cube."""
        assert isinstance(self.shape, AbstractVolume)
        points = (torch.rand(count, 3, generator=generator) * 2 - 1) * student.radius
        with torch.no_grad():
            density, features = self.shape.density(points), self.shape.features(points)
        of_density = frobenius(log_density(student.density(points)), log_density(density))
        return of_density + frobenius(student.features(points), features)

    @torch.no_grad()
    def follow(self, student: AbstractShape) -> None:
        """One step of the average."""
        for mine, theirs in zip(self._numbers(self.shape), self._numbers(student), strict=True):
            mine.lerp_(theirs, 1 - self.momentum)

    def settle(self, student: AbstractShape) -> None:
        """Give the student the average."""
        student.load_state_dict(self.shape.state_dict())

    def _numbers(self, shape: AbstractShape) -> list[Tensor]:
        return [value for value in shape.state_dict().values() if value.is_floating_point()]
