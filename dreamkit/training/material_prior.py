"""What a plausible material is, as losses: it changes slowly along the surface, and most things are no rough metal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering
from dreamkit.schedules import Schedule, value_at

NAMES = ("color_smoothness", "surface_smoothness", "usual_roughness", "usual_metallic")


@dataclass(frozen=True)
class MaterialPrior:
    """Weights of `mean |c(x) - c(x + e)|`, `mean |k(x) - k(x + e)|`, `mean (r - r0)^2` and `mean (m - m0)^2`.

    x are the visible points (pixels more than half opaque, at their expected depth), e is normal with deviation
    `spread` scene units along each axis, c the base colour (display), k roughness r and metallic m, all in [0, 1].
    Means are over points and channels. Where pictures do not tell what a thing is made of, they leave the choice to the
    light; the usual values r0 and m0 take it back. A weight of 0 leaves a term out.
    Source: the smoothness is nvdiffrec's (arXiv 2111.12503; method card representations 4.5, whose deviation it is).
    """

    color_smoothness: Schedule = 0.0
    surface_smoothness: Schedule = 0.0
    usual_roughness: Schedule = 0.0
    usual_metallic: Schedule = 0.0
    roughness: float = 0.5
    "r0."
    metallic: float = 0.0
    "m0."
    spread: float = 0.01

    def __post_init__(self) -> None:
        if not self.spread > 0 or not 0 <= self.roughness <= 1 or not 0 <= self.metallic <= 1:
            raise ValueError(
                f"a MaterialPrior needs spread > 0, roughness and metallic in [0, 1]; got spread={self.spread}, "
                f"roughness={self.roughness}, metallic={self.metallic}"
            )

    def terms(
        self, scene: Scene, rendering: Rendering, cameras: Cameras, progress: float, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms, by name; nothing is drawn from the generator where all weights are 0.

        Raises ValueError for a material without roughness and metallic, where a term needs them.
        """
        weights = {name: value_at(getattr(self, name), progress) for name in NAMES}
        wanted = {name: weight for name, weight in weights.items() if weight}
        if not wanted:
            return {}
        points = _visible_points(rendering, cameras)
        jitter = self.spread * torch.randn(points.shape, generator=generator, device=generator.device).to(points)
        features = scene.shape.features(torch.cat([points, points + jitter]), progress)
        here, beside = _properties(scene, features, wanted).chunk(2)
        change = (here - beside).abs()
        found = {
            "color_smoothness": change[:, :3],
            "surface_smoothness": change[:, 3:],
            "usual_roughness": (here[:, 3:4] - self.roughness).square(),
            "usual_metallic": (here[:, 4:5] - self.metallic).square(),
        }
        # An empty view has no surface, and nothing to say.
        return {name: weight * found[name].sum() / max(found[name].numel(), 1) for name, weight in wanted.items()}


def _visible_points(rendering: Rendering, cameras: Cameras) -> Float[Tensor, "points 3"]:
    rays, seen = cameras.rays(), rendering.alpha.detach()[..., 0] > 0.5
    points = rays.origins + rendering.depth.detach() * rays.directions
    return points[seen]


def _properties(
    scene: Scene, features: Float[Tensor, "points channels"], wanted: dict[str, float]
) -> Float[Tensor, "points properties"]:
    """Base colour, and roughness and metallic where the material has them."""
    color, maps = scene.material.base_color(features), scene.material.surface_maps(features)
    if maps is not None:
        return torch.cat([color, maps[:, 1:]], dim=-1)
    if missing := [name for name in wanted if name != "color_smoothness"]:
        raise ValueError(
            f"{missing[0]} needs a material with roughness and metallic, such as pbr; {type(scene.material).__name__} "
            "has neither: leave training.material out"
        )
    return color
