"""Gaussians from anything that can be rendered: a cloud on the points that views see, then a fit to its pictures."""

import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussian_init import facing, point_cloud
from dreamkit.representations.gaussians import Gaussians
from dreamkit.vectors import normalize

SEEN = 0.75
"Rays that are more opaque than this end on a surface (card 1.9)."
VIEWS, SIZE = 24, 96
"Views in which points are looked for, and their height and width."


@dataclass(frozen=True)
class ToGaussians(AbstractConverter):
    """`count` Gaussians on the teacher's visible surface, then a fit of its renders.

    Points are `o + D d` of rays with opacity above 0.75 in views all around, a random choice of them; raw channels are
    the teacher's there. Only what is seen gets Gaussians, none are spent on the inside. Sources: arXiv 2405.09717;
    method card representations 1.9. Raises ValueError for a teacher of which nothing can be seen.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractShape,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians,)

    count: int = 10_000
    opacity: float = 0.9
    shrink: float = 0.7
    "Standard deviations at the start, as a share of the distance to the neighbours."
    fit: RenderedFit = field(default_factory=lambda: RenderedFit(steps=500, normal=0.0))

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        shape = student.shape
        assert isinstance(shape, Gaussians)
        points = seen_points(teacher, self.count, generator)
        with torch.no_grad():
            features = teacher.shape.features(points)
        cloud = point_cloud(points, features, self.opacity, shape.degree, self.shrink)
        if shape.flat:
            # Disks that all look the same way are lines from the side; outwards is nearer the truth.
            cloud = replace(cloud, rotations=facing(normalize(cloud.positions)))
        shape.replace_cloud(cloud)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)


@torch.no_grad()
def seen_points(scene: Scene, count: int, generator: torch.Generator) -> Float[Tensor, "points 3"]:
    """At most `count` random points of the surface that views from all sides see; ValueError where there is nothing."""
    cameras = all_around(2.5 * scene.shape.radius, SIZE, VIEWS)
    rays, rendering = cameras.rays(), scene.render(cameras)
    ends = (rays.origins + rendering.depth * rays.directions)[rendering.alpha.squeeze(-1) > SEEN]
    if len(ends) < 2:
        raise ValueError(
            f"nothing of the scene is more opaque than {SEEN} in any of {VIEWS} views, so there is no surface to put "
            "Gaussians on; train it longer"
        )
    return ends[torch.randperm(len(ends), generator=generator)[:count]]


def all_around(distance: float, size: int, views: int, fov: float = 40.0) -> Cameras:
    """Views on a spiral over the sphere, each at the middle of an equal share of its area."""
    share = (torch.arange(views) + 0.5) / views
    elevation = torch.rad2deg(torch.asin(1 - 2 * share)).clamp(-80, 80)
    azimuth = torch.arange(views) * 137.508
    return orbit(azimuth, elevation, distance, fov, size, size)
