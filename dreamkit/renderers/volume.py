"""Volume rendering of fields: march, look, keep what is visible, shade, composite."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.lights import Lights
from dreamkit.names import check_choice
from dreamkit.ops.composite import composite
from dreamkit.ops.march import PackedSamples, march
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.renderers.occupancy import OccupancyGrid
from dreamkit.renderers.packing import keep, resample
from dreamkit.rendering import RaySamples, Rendering
from dreamkit.representations.base import NORMAL_MODES, AbstractField

OPAQUE = 1e-4
"A ray ends where less than this share of its light is left."
FARTHEST = 1e4
"Rays are clipped to the scene's cube; this only bounds them where the cube is far away."


@dataclass(frozen=True)
class _Shot:
    """What all rays of one call have in common."""

    shape: AbstractField
    material: AbstractMaterial
    lights: Lights | None
    progress: float
    normals: str | None
    training: bool


@dataclass(frozen=True)
class _Bundle:
    """Some of the rays of a call."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    jitter: Float[Tensor, " rays"] | None
    first: int
    "Index of the first ray among all rays of the call."
    pixels: int
    "Rays of one view."


@dataclass(frozen=True)
class _Light:
    """What the rays of a bundle gathered."""

    color: Float[Tensor, "rays 3"]
    alpha: Float[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    normal: Float[Tensor, "rays 3"] | None
    samples: RaySamples | None


class VolumeRenderer(AbstractRenderer):
    """`color = sum w_i c_i + (1 - O) background`, `w_i = T_i (1 - exp(-sigma_i delta_i))` (NeRF, arXiv 2003.08934).

    Rays step through the occupied cells by `2 sqrt(3) radius / samples`. A first look without gradients finds the
    samples that matter: `alpha >= min_alpha` with at least 1e-4 of the light left; only these are differentiated and
    shaded. With `importance` > 0 they are replaced by that many intervals a ray of equal weight (64 + 128 in NeRF).
    `normal_mode` is a mode of `AbstractField.normal`. In evaluation rays go in chunks of `chunk`: under
    `torch.no_grad()` memory does not grow with the image. Raises ValueError for settings without meaning.
    """

    def __init__(
        self,
        samples: int = 512,
        importance: int = 0,
        min_alpha: float = 1e-3,
        normal_mode: str = "analytic",
        occupancy: OccupancyGrid | None = None,
        near: float = 0.0,
        chunk: int = 1 << 14,
    ) -> None:
        super().__init__()
        check_choice("normal mode", normal_mode, NORMAL_MODES)
        if samples < 1 or importance < 0 or chunk < 1 or not 0 <= min_alpha < 1:
            raise ValueError(
                f"a VolumeRenderer needs samples >= 1, importance >= 0, chunk >= 1 and 0 <= min_alpha < 1; "
                f"got samples={samples}, importance={importance}, chunk={chunk}, min_alpha={min_alpha}"
            )
        self.samples, self.importance, self.min_alpha = samples, importance, min_alpha
        self.normal_mode, self.near, self.chunk = normal_mode, near, chunk
        self.occupancy = OccupancyGrid() if occupancy is None else occupancy

    def step_length(self, radius: float) -> float:
        """Distance between samples, in scene units: a diagonal of the cube has `samples` steps."""
        return 2 * math.sqrt(3) * radius / self.samples

    def update(self, shape: nn.Module, progress: float, step: int, generator: torch.Generator) -> None:
        """Let the occupancy grid follow the density."""
        field = _checked(shape)
        self.occupancy.update(
            lambda points: field.density(points, progress),
            field.radius,
            self.step_length(field.radius),
            step,
            generator,
        )

    def render(
        self,
        shape: nn.Module,
        material: AbstractMaterial,
        background: AbstractBackground,
        cameras: Cameras,
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `AbstractRenderer.render`. Raises TypeError when the shape is not a field."""
        lights = None if generator is None else material.draw_lights(cameras, progress, generator)
        mode = self.normal_mode if normals or (material.needs_normal and lights is not None) else None
        shot = _Shot(_checked(shape), material, lights, progress, mode, generator is not None)
        rays = cameras.rays()
        behind = background.color(rays.directions, generator)
        pixels = cameras.height * cameras.width
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        if generator is not None:
            jitter = torch.rand(len(origins), generator=generator, device=generator.device).to(origins)
            light = self._trace(shot, _Bundle(origins, directions, jitter, 0, pixels))
        else:
            parts = zip(origins.split(self.chunk), directions.split(self.chunk), strict=True)
            light = _join(
                [self._trace(shot, _Bundle(o, d, None, i * self.chunk, pixels)) for i, (o, d) in enumerate(parts)]
            )
        return _develop(light, behind)

    def _trace(self, shot: _Shot, rays: _Bundle) -> _Light:
        samples = self._visible(shot, rays)
        direction = rays.directions[samples.ray]
        points = torch.addcmul(rays.origins[samples.ray], samples.distance[:, None], direction)
        values = shot.shape(points, shot.progress, shot.normals)
        view = (samples.ray + rays.first) // rays.pixels
        color = shot.material.shade(ShadingPoints(values.features, points, direction, view, values.normal), shot.lights)
        channels = color if values.normal is None else torch.cat([color, values.normal], dim=-1)
        out = composite(values.density, samples.length, channels, samples.offsets, samples.distance)
        assert out.depth is not None
        kept = None
        if shot.training:
            kept = RaySamples(
                samples.ray, samples.distance, samples.length, out.weights, direction, values.normal, len(rays.origins)
            )
        normal = None if values.normal is None else out.accumulated[:, 3:]
        return _Light(out.accumulated[:, :3], out.alpha, _expected(out.depth, out.alpha), normal, kept)

    @torch.no_grad()
    def _visible(self, shot: _Shot, rays: _Bundle) -> PackedSamples:
        radius = shot.shape.radius
        samples = march(
            rays.origins,
            rays.directions,
            self.occupancy.mask,
            radius,
            self.near,
            FARTHEST,
            self.step_length(radius),
            rays.jitter,
        )
        points = torch.addcmul(rays.origins[samples.ray], samples.distance[:, None], rays.directions[samples.ray])
        density = shot.shape.density(points, shot.progress)
        nothing = density.new_empty(len(density), 0)
        weights = composite(density, samples.length, nothing, samples.offsets, stop=OPAQUE).weights
        if self.importance:
            return resample(samples, weights, self.importance, rays.jitter)
        thick = -torch.expm1(-density * samples.length) >= self.min_alpha
        return keep(samples, thick & (weights > 0))


def _expected(depth: Float[Tensor, " rays"], alpha: Float[Tensor, " rays"]) -> Float[Tensor, " rays"]:
    seen = alpha > 0
    # Both branches of `where` get a gradient: the one not taken must not divide by zero.
    return torch.where(seen, depth / torch.where(seen, alpha, 1), 0)


def _develop(light: _Light, behind: Float[Tensor, "batch height width 3"]) -> Rendering:
    image = behind.shape[:3]
    alpha = light.alpha.view(*image, 1)
    color = light.color.view(behind.shape) + (1 - alpha) * behind
    normal = None if light.normal is None else light.normal.view(behind.shape)
    return Rendering(color, alpha, light.depth.view(*image, 1), normal, light.samples)


def _join(parts: list[_Light]) -> _Light:
    normals = [part.normal for part in parts if part.normal is not None]
    color, alpha, depth = (torch.cat([getattr(part, name) for part in parts]) for name in ("color", "alpha", "depth"))
    return _Light(color, alpha, depth, torch.cat(normals) if normals else None, None)


def _checked(shape: nn.Module) -> AbstractField:
    if not isinstance(shape, AbstractField):
        raise TypeError(f"the volume renderer draws fields; got {type(shape).__name__}, which needs another renderer")
    return shape
