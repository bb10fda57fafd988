"""The same points for teacher and student: rays marched through the occupied cells, and what a scene says there."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.materials.base import ShadingPoints
from dreamkit.ops.composite import composite
from dreamkit.ops.march import PackedSamples, march
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import FARTHEST, VolumeRenderer
from dreamkit.representations.base import AbstractField, AbstractVolume


@dataclass(frozen=True)
class RayBundle:
    """Some rays, with the colour that stands behind each."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays 3"]

    def __len__(self) -> int:
        return len(self.origins)

    def pick(self, index: Int[Tensor, " picked"]) -> "RayBundle":
        """Some of the rays."""
        return RayBundle(self.origins[index], self.directions[index], self.background[index])

    def join(self, other: "RayBundle") -> "RayBundle":
        """These rays, then those."""
        parts = zip(
            (self.origins, self.directions, self.background),
            (other.origins, other.directions, other.background),
            strict=True,
        )
        return RayBundle(*(torch.cat(pair) for pair in parts))


@dataclass(frozen=True)
class RayPoints:
    """The points of a bundle that both scenes are asked at."""

    packed: PackedSamples
    position: Float[Tensor, "points 3"]
    direction: Float[Tensor, "points 3"]
    background: Float[Tensor, "rays 3"]


@dataclass(frozen=True)
class PointValues:
    """What a scene says at points, before anything is rendered."""

    density: Float[Tensor, " points"]
    color: Float[Tensor, "points 3"]
    latent: Float[Tensor, "points features"] | None
    "The features behind the log-density in the 16-vector, for kinds that have them."


@dataclass(frozen=True)
class Pixels:
    """What rays gathered."""

    color: Float[Tensor, "rays 3"]
    alpha: Float[Tensor, " rays"]
    weights: Float[Tensor, " points"]


def shoot(student: Scene, rays: RayBundle, jitter: Float[Tensor, " rays"]) -> RayPoints:
    """March the rays through the student's occupied cells."""
    renderer, radius = volume_renderer(student), student.shape.radius
    packed = march(
        rays.origins,
        rays.directions,
        renderer.occupancy.mask,
        radius,
        renderer.near,
        FARTHEST,
        renderer.step_length(radius),
        jitter,
    )
    direction = rays.directions[packed.ray]
    position = torch.addcmul(rays.origins[packed.ray], packed.distance[:, None], direction)
    return RayPoints(packed, position, direction, rays.background)


def look(scene: Scene, position: Float[Tensor, "points 3"], direction: Float[Tensor, "points 3"]) -> PointValues:
    """Density, unlit display colour and, where the kind has them, latent features."""
    shape = volume(scene)
    latent = None
    if isinstance(shape, AbstractField):
        encoding = shape.encode(position)
        density, raw = shape.decode_density(encoding, position), shape.decode_features(encoding)
        latent = shape.latent(encoding)
    else:
        density, raw = shape.density(position), shape.features(position)
    view = torch.zeros(len(position), dtype=torch.int64, device=position.device)
    return PointValues(density, scene.material.shade(ShadingPoints(raw, position, direction, view), None), latent)


def gather(points: RayPoints, values: PointValues) -> Pixels:
    """Composite along the rays, over their backgrounds."""
    out = composite(values.density, points.packed.length, values.color, points.packed.offsets)
    return Pixels(out.accumulated + (1 - out.alpha[:, None]) * points.background, out.alpha, out.weights)


def volume(scene: Scene) -> AbstractVolume:
    """The scene's shape; raises TypeError unless it is a volume."""
    if not isinstance(scene.shape, AbstractVolume):
        raise TypeError(f"only volumes can be asked for density; got {type(scene.shape).__name__}")
    return scene.shape


def seen_density(scene: Scene) -> Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]:
    """The density of a scene's volume where its own rays look.

    What an occupancy grid has long hidden can be anything: a fog that no picture of the teacher shows is not to be
    learnt. Raises TypeError for what is no volume.
    """
    shape, renderer = volume(scene), scene.renderer
    if not isinstance(renderer, VolumeRenderer):
        return shape.density

    def density(points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        return shape.density(points) * renderer.occupancy.holds(points, shape.radius)

    return density


def volume_renderer(scene: Scene) -> VolumeRenderer:
    """The scene's renderer; raises TypeError unless it draws fields."""
    if not isinstance(scene.renderer, VolumeRenderer):
        raise TypeError(f"a field is learnt through a VolumeRenderer; got {type(scene.renderer).__name__}")
    return scene.renderer
