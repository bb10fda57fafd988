"""A surface to any field: density from its signed distance in closed form, colours nearby, then its pictures."""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.explicit_grid import fill
from dreamkit.convert.fidelity import compare
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.point_fit import KnownPoints, PointFit, anywhere
from dreamkit.convert.signed_distance import nearest_surface
from dreamkit.convert.thick_surface import ThickSurface
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField, AbstractShape, AbstractSurface
from dreamkit.representations.density import volsdf_density
from dreamkit.representations.nearest_point import barycentric
from dreamkit.representations.voxel_field import VoxelField


@dataclass(frozen=True)
class SurfaceToField(AbstractConverter):
    """`PointFit` to the VolSDF density of the signed distance s at `pool` points, then `PictureFit`.

    beta is `width`: about half of a ray's step, so that a border is met by rays wherever it lies; the pictures sharpen
    it as far as they show. Half of the points lie within a few beta of the surface, half anywhere; colours are compared
    where |s| < 3 beta, at the nearest point of the surface. An explicit grid is set to all of that at its vertices
    instead: random points reach a tenth of them, and the rest would stay fog.
    Source: method card representations 11.3 b and c; the card narrows beta from 0.05 to 0.005 instead (VolSDF: 5.3).
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractSurface,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)

    pool: int = 1 << 16
    width: float = 0.015
    start: PointFit = field(default_factory=PointFit)
    fit: PictureFit = field(default_factory=PictureFit)

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`; also needs a student with a renderer of fields."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        if isinstance(student.shape, VoxelField):
            assert isinstance(teacher.shape, AbstractSurface)
            fill(student.shape, ThickSurface(teacher.shape, teacher.shape.mesh(), self.width))
        else:
            yield from self.start.run(self._known(teacher, generator), student, generator)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    @torch.no_grad()
    def _known(self, teacher: Scene, generator: torch.Generator) -> KnownPoints:
        shape = teacher.shape
        assert isinstance(shape, AbstractSurface)
        mesh = shape.mesh()
        points = self._draw(mesh, shape.radius, generator)
        found = nearest_surface(mesh, points)
        weights = barycentric(mesh.corners[found.face], found.point)
        color = teacher.material.base_color(shape.features_on(found.point, found.face, weights))
        near = found.distance.abs() < 3 * self.width
        return KnownPoints(points, volsdf_density(found.distance, 1 / self.width), near, color)

    def _draw(self, mesh: Mesh, radius: float, generator: torch.Generator) -> Float[Tensor, "points 3"]:
        half = self.pool // 2
        # By area: a fan of slivers would take all points that are drawn by face.
        area = torch.linalg.cross(mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0])
        face = torch.multinomial(area.norm(dim=-1), half, replacement=True, generator=generator)
        share = torch.rand(half, 3, 1, generator=generator).clamp_min(1e-7).log()
        near = (mesh.corners[face] * (share / share.sum(dim=1, keepdim=True))).sum(dim=1)
        near = near + torch.randn(half, 3, generator=generator) * (1.5 * self.width)
        return torch.cat([near, anywhere(self.pool - half, radius, generator)]).clamp(-radius, radius)
