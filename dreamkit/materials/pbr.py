"""A physically based surface under changing light: what makes an asset that can be lit anew."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.ggx import Reflectance
from dreamkit.materials.illumination import Illumination, Lamps, illuminate, load_environments
from dreamkit.materials.lights import Lights, dreamfusion_position
from dreamkit.materials.monte_carlo import Samples
from dreamkit.materials.split_sum import PrefilteredMaps
from dreamkit.vectors import decode_srgb, encode_srgb, normalize

START = -2.0
"Added to the metallic channel: a fresh field (all channels near 0) is 12 % of the way to the most metallic."


@dataclass(frozen=True)
class LampSampler:
    """One shining ball for each view, near its camera as in DreamFusion; power 0 for none."""

    power: float = 0.0
    "Radiant intensity."
    radius: float = 0.2
    distance: tuple[float, float] = (1.5, 2.5)

    def draw(self, cameras: Cameras, generator: torch.Generator) -> Lamps | None:
        """A white lamp for each view, or None without power."""
        if not self.power:
            return None
        position = dreamfusion_position(cameras, generator, distance=self.distance)[:, None]
        power = torch.full_like(position, self.power)
        return Lamps(position, power, torch.full_like(position[..., 0], self.radius))


class PBR(AbstractMaterial):
    """Metallic-roughness (glTF 2.0) under environments that change from view to view.

    Features to surface: base colour `sigmoid(f0..f2)` (display), metallic and roughness from their lowest to their
    highest value by `sigmoid(f3 - 2)` and `sigmoid(f4)`, and with `bump` a tangent-space normal
    `normalize(2 sigmoid(f5..f7) - 1 + (0, 0, 1))`. Shading is the split-sum, or the Monte-Carlo estimator with
    `samples`, in linear light, cut to [0, 1] and encoded at the end. `environments` are names in `assets/environments`
    or .hdr files. Evaluation (no lights) shows the base colour.
    Raises ValueError for ranges outside [0, 1] and unknown environments. Source: DreamMat's code and nvdiffrec's
    (arXiv 2111.12503), with the mistakes of the former left out; card representations 4.2 to 4.4.
    """

    needs_normal: ClassVar[bool] = True
    radiance: Tensor
    irradiance: Tensor
    glossy: Tensor

    def __init__(
        self,
        environments: tuple[str, ...] = ("studio", "overcast", "sunset", "window", "night"),
        exposure: float = 1.0,
        turn: bool = True,
        lamp: LampSampler | None = None,
        metallic: tuple[float, float] = (0.0, 0.9),
        roughness: tuple[float, float] = (0.1, 0.95),
        bump: bool = False,
        samples: Samples | None = None,
        rows: int = 64,
    ) -> None:
        super().__init__()
        for name, (low, high) in (("metallic", metallic), ("roughness", roughness)):
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name} is a range within [0, 1]; got {(low, high)}")
        if not environments or not exposure > 0:
            raise ValueError(f"PBR needs an environment and exposure > 0; got {environments} and {exposure}")
        self.channels = 8 if bump else 5
        self.turn, self.lamp = turn, LampSampler() if lamp is None else lamp
        self.metallic, self.roughness, self.bump, self.samples = metallic, roughness, bump, samples
        radiance, filtered = load_environments(environments, rows)
        # Not part of the state: the recipe says which they are.
        self.register_buffer("radiance", radiance * exposure, persistent=False)
        self.register_buffer("irradiance", filtered.irradiance * exposure, persistent=False)
        self.register_buffer("glossy", filtered.glossy * exposure, persistent=False)

    def draw_lights(self, cameras: Cameras, progress: float, generator: torch.Generator) -> Lights | None:
        """An environment for each view, turned by any angle, and a lamp where the sampler has power."""
        views, device = len(cameras), cameras.pose.device
        which = torch.randint(len(self.radiance), (views,), generator=generator, device=generator.device)
        draw = torch.rand(views, 3, generator=generator, device=generator.device).to(cameras.pose)
        lamps = self.lamp.draw(cameras, generator)
        turn = 360 * draw[:, 0] * self.turn
        maps = PrefilteredMaps(self.irradiance, self.glossy)
        return Illumination(self.radiance, maps, which.to(device), turn, lamps, draw[:, 1:])

    def shade(self, points: ShadingPoints, lights: Lights | None) -> Float[Tensor, "points 3"]:
        """Display colour under the lights; the base colour without.

        Raises TypeError for lights of another material, and ValueError when lights meet no normals.
        """
        if lights is None:
            return self.base_color(points.features)
        if not isinstance(lights, Illumination):
            raise TypeError(f"PBR shades under an Illumination, which it draws itself; got {type(lights).__name__}")
        if points.normal is None:
            raise ValueError("PBR shading needs normals; render with a field normal mode, or use Unlit")
        bumped = self.shading_normal(points.features, points.normal)
        normal = points.normal if bumped is None else bumped
        surface = self.reflectance(points.features)
        shown = illuminate(surface, points.position, normal, -points.direction, points.view, lights, self.samples)
        return encode_srgb(shown.clamp(0, 1))

    def base_color(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"]:
        """`sigmoid` of the first three channels, display colour."""
        return torch.sigmoid(features[:, :3])

    def reflectance(self, features: Float[Tensor, "points channels"]) -> Reflectance:
        """The surface in linear light."""
        share = torch.sigmoid(features[:, 3:5] + features.new_tensor([START, 0.0]))
        metallic, roughness = (
            low + (high - low) * share[:, i : i + 1] for i, (low, high) in enumerate((self.metallic, self.roughness))
        )
        return Reflectance(decode_srgb(self.base_color(features)), metallic, roughness)

    def surface_maps(self, features: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"] | None:
        """Occlusion 1, roughness and metallic."""
        surface = self.reflectance(features)
        return torch.cat([torch.ones_like(surface.roughness), surface.roughness, surface.metallic], dim=-1)

    def shading_normal(
        self, features: Float[Tensor, "points channels"], normal: Float[Tensor, "points 3"]
    ) -> Float[Tensor, "points 3"] | None:
        """`normalize(east p_x + north p_y + n p_z)`, p as in the class's text; None without bump.

        East is `up x n`: on a field, unlike on a chart, directions along the surface have to come from the world.
        """
        if not self.bump:
            return None
        bent = 2 * torch.sigmoid(features[:, 5:8]) - 1 + features.new_tensor([0.0, 0.0, 1.0])
        # Straight up and down, where east is undefined, the bump fades out.
        east = normalize(torch.linalg.cross(normal.new_tensor([0.0, 1.0, 0.0]).expand_as(normal), normal), eps=0.05)
        axes = torch.stack([east, torch.linalg.cross(normal, east), normal], dim=-2)
        return normalize((bent[:, None] @ axes).squeeze(1))
