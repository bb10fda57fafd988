"""Random point lights for training: a light near the camera shows shape that flat colour would hide.

Source: method card guidance 14.6 (threestudio's samplers).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.names import check_choice
from dreamkit.vectors import normalize

SAMPLERS = ("dreamfusion", "magic3d")
CONE = (math.pi / 6, math.pi / 2)
"Elevation of a magic3d light above the plane across the camera axis: at most 60 degrees from the axis."


class Lights:
    """What lights a batch of views: drawn by a material for itself, carried by renderers who never look inside."""


@dataclass(frozen=True)
class PointLights(Lights):
    """One point light for each view, with the ambient light around it."""

    position: Float[Tensor, "views 3"]
    ambient: Float[Tensor, " views"]
    diffuse: Float[Tensor, " views"]
    textureless: Bool[Tensor, " views"]
    "True where the base colour is replaced by white, so that only the shape shows."


def dreamfusion_position(
    cameras: Cameras, generator: torch.Generator, perturb: float = 1.0, distance: tuple[float, float] = (0.8, 1.5)
) -> Float[Tensor, "views 3"]:
    """`u normalize(camera + perturb z)`, z standard normal, u uniform in `distance`, scene units (arXiv 2209.14988)."""
    camera = cameras.position
    shift = torch.randn(camera.shape, generator=generator, device=generator.device).to(camera)
    return _reach(cameras, distance, generator) * normalize(camera + perturb * shift)


def magic3d_position(
    cameras: Cameras, generator: torch.Generator, distance: tuple[float, float] = (0.8, 1.5)
) -> Float[Tensor, "views 3"]:
    """In the cone of 60 degrees around the way from origin to camera; elevation in it and azimuth are uniform."""
    axis = normalize(cameras.position)
    draw = torch.rand(2, len(axis), 1, generator=generator, device=generator.device).to(axis)
    elevation, azimuth = CONE[0] + (CONE[1] - CONE[0]) * draw[0], 2 * math.pi * draw[1]
    # The camera's right and up are only at right angles to the axis when it looks at the origin.
    right = normalize(torch.linalg.cross(cameras.pose[:, :3, 1], axis))
    up = torch.linalg.cross(axis, right)
    around = azimuth.cos() * right + azimuth.sin() * up
    return _reach(cameras, distance, generator) * (elevation.sin() * axis + elevation.cos() * around)


@dataclass(frozen=True)
class LightSampler:
    """Where lights stand, and when shading begins: ambient only at first, then diffuse and textureless by chance."""

    sampler: str = "dreamfusion"
    ambient: float = 0.1
    diffuse: float = 0.9
    "Shading is `base * (ambient + diffuse * max(0, n.l))`."
    ambient_only_until: float = 0.2
    "Share of the run with flat light (2000 of 10 000 steps in the DreamFusion re-implementation)."
    diffuse_probability: float = 0.75
    textureless_probability: float = 0.5
    "Within the diffuse views."

    def __post_init__(self) -> None:
        check_choice("light sampler", self.sampler, SAMPLERS)
        for name in ("diffuse_probability", "textureless_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability in [0, 1]; got {getattr(self, name)}")

    def draw(self, cameras: Cameras, progress: float, generator: torch.Generator) -> PointLights:
        """One light for each view. The draws are the same in number before and after the ambient phase."""
        place = dreamfusion_position if self.sampler == "dreamfusion" else magic3d_position
        position = place(cameras, generator)
        chance = torch.rand(2, len(cameras), generator=generator, device=generator.device).to(position)
        lit = (chance[0] < self.diffuse_probability) & (progress >= self.ambient_only_until)
        ones = torch.ones_like(chance[0])
        ambient = torch.where(lit, self.ambient * ones, ones)
        diffuse = torch.where(lit, self.diffuse * ones, 0 * ones)
        return PointLights(position, ambient, diffuse, lit & (chance[1] < self.textureless_probability))


def _reach(cameras: Cameras, distance: tuple[float, float], generator: torch.Generator) -> Float[Tensor, "views 1"]:
    share = torch.rand(len(cameras), 1, generator=generator, device=generator.device).to(cameras.pose)
    return distance[0] + (distance[1] - distance[0]) * share
