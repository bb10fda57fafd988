"""A surface that shines in its own colour: what score distillation asks for first."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.lights import Lights


class Unlit(AbstractMaterial):
    """`color = sigmoid(features)`: light and shade are part of the colour, as in ProlificDreamer (arXiv 2305.16213)."""

    channels: ClassVar[int] = 3
    needs_normal: ClassVar[bool] = False

    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """No lights, no draws."""
        return None

    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """The base colour, whatever the lights."""
        return self.base_color(points.features)

    def base_color(self, features: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """`sigmoid(features)`."""
        return torch.sigmoid(features)
