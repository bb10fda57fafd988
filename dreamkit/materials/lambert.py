"""A matt surface under one random point light: the shading that gives DreamFusion its shapes."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.lights import Lights, LightSampler, PointLights
from dreamkit.vectors import dot, normalize


class Lambert(AbstractMaterial):
    """`color = base (ambient + diffuse max(0, n.l))`, base = sigmoid(features), or white for textureless views.

    As in the sources, the product is taken in display space (it is a training aid, not a light simulation).
    Sources: DreamFusion, arXiv 2209.14988, section 3.1; method card guidance 14.6.
    """

    channels: ClassVar[int] = 3
    needs_normal: ClassVar[bool] = True

    def __init__(self, lights: LightSampler | None = None) -> None:
        super().__init__()
        self.lights = LightSampler() if lights is None else lights

    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """One light for each view; None while no view is lit, which saves the renderer the normals."""
        lights = self.lights.draw(cameras, progress, generator)
        return lights if bool((lights.diffuse > 0).any()) else None

    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """The formula above; without lights the base colour.

        Raises TypeError for lights of another material, and ValueError when lights meet no normals.
        """
        base = self.base_color(points.features)
        if lights is None:
            return base
        if not isinstance(lights, PointLights):
            raise TypeError(f"Lambert shades under PointLights, which it draws itself; got {type(lights).__name__}")
        if points.normal is None:
            raise ValueError("Lambert shading needs normals; render with a field normal mode, or use Unlit")
        toward = normalize(lights.position[points.view] - points.position)
        facing = dot(points.normal, toward).clamp_min(0)
        base = torch.where(lights.textureless[points.view, None], torch.ones_like(base), base)
        return base * (lights.ambient[points.view, None] + lights.diffuse[points.view, None] * facing)

    def base_color(self, features: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """`sigmoid(features)`."""
        return torch.sigmoid(features)
