"""What every material is: raw channels of a field in, display colour out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.materials.lights import Lights


@dataclass(frozen=True)
class ShadingPoints:
    """The points that a renderer wants coloured, from any number of views."""

    features: Float[Tensor, "points channels"]
    "Raw output of the field."
    position: Float[Tensor, "points 3"]
    direction: Float[Tensor, "points 3"]
    "Unit, from the camera into the scene."
    view: Int[Tensor, " points"]
    "Which of the rendered views the point belongs to."
    normal: Float[Tensor, "points 3"] | None = None
    "Unit outward normal; always present for materials that need normals."


class AbstractMaterial(nn.Module, ABC):
    """How a point of the surface looks.

    A step of training first draws lights for its views, then shades; evaluation shades without lights (None) and
    shows the plain base colour, so that its images are deterministic.
    """

    channels: int
    "Feature channels that the material reads."
    needs_normal: ClassVar[bool]

    @abstractmethod
    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """Random lights for each view, or None for a material without any."""

    @abstractmethod
    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """Display (sRGB-encoded) colour in [0, 1]."""

    @abstractmethod
    def base_color(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"]:
        """Display colour without light: what a texture stores."""

    def surface_maps(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"] | None:
        """What a texture stores beside the base colour, or None for a material that is nothing but its colour.

        Occlusion (1: nothing is occluded), roughness and metallic: linear, in [0, 1], as glTF packs them.
        """
        return None

    def shading_normal(
        self, features: Float[Tensor, "points channels"], normal: Float[Tensor, "points 3"]
    ) -> Float[Tensor, "points 3"] | None:
        """The unit normal in world space that light sees, or None for a material that never bends the shape's own."""
        return None
