"""What radiance distillation learns beside the surface: one light, and how far each place is physical already."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.ggx import Reflectance
from dreamkit.materials.illumination import Illumination, illuminate
from dreamkit.materials.lights import Lights
from dreamkit.materials.pbr import PBR
from dreamkit.materials.split_sum import prefilter
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.representations.texture_field import TextureField
from dreamkit.vectors import encode_srgb

LEVELS = HashLevels(levels=6, log2_table_size=13, base=8, growth=1.5)
"Of the progress field: finest cells of 1/30 of the radius."


class LearntLight(AbstractMaterial):
    """A PBR surface under one environment that is a parameter: linear light `exp(log_light)`, by split-sum.

    It shines in evaluation as in training. With `mirror` every surface is wholly metallic, whatever its features say.
    """

    needs_normal: ClassVar[bool] = True

    def __init__(self, plain: PBR, rows: int) -> None:
        super().__init__()
        self.plain, self.channels, self.mirror = plain, plain.channels, False
        self.log_light = nn.Parameter(torch.zeros(rows, 2 * rows, 3))

    @property
    def light(self) -> Float[Tensor, "rows columns 3"]:
        """The environment, linear."""
        return self.log_light.exp()

    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """Nothing is drawn: there is one light."""
        return None

    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """Display colour. Raises ValueError without normals: render with `normals=True`."""
        if points.normal is None:
            raise ValueError("a surface under a learnt light needs normals; render with normals=True")
        surface = self.plain.reflectance(points.features)
        if self.mirror:
            surface = Reflectance(surface.base_color, torch.ones_like(surface.metallic), surface.roughness)
        radiance = self.light[None]
        one = torch.zeros(1, dtype=torch.long, device=radiance.device)
        light = Illumination(radiance, prefilter(radiance), one, torch.zeros(1, device=radiance.device))
        view = torch.zeros_like(points.view)
        shown = illuminate(surface, points.position, points.normal, -points.direction, view, light)
        return encode_srgb(shown.clamp(0, 1))

    def base_color(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"]:
        """The plain material's."""
        return self.plain.base_color(features)


class Progress(AbstractMaterial):
    """The share of each place that is drawn by the physical model, `sigmoid(f(x) + logit(start))`, as a grey.

    f is a small field of its own, so that a shape needs no channel for it. Before it is `free`, it is `start`.
    """

    needs_normal: ClassVar[bool] = False

    def __init__(self, radius: float, channels: int, start: float, seed: int) -> None:
        super().__init__()
        self.channels, self.free = channels, False
        self.offset = float(torch.logit(torch.tensor(start)))
        self.field = TextureField(radius, 1, LEVELS, hidden=16, seed=seed)

    def at(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 1"]:
        """The share at points in space."""
        learnt = self.field(points) if self.free else torch.zeros_like(points[:, :1])
        return torch.sigmoid(learnt + self.offset)

    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """Nothing is drawn."""
        return None

    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """The share as a grey."""
        return self.at(points.position).expand(-1, 3)

    def base_color(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"]:
        """White: a progress has no colour."""
        return torch.ones_like(features[:, :3])
