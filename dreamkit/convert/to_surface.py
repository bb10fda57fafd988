"""Anything to DMTet or FlexiCubes: its surface's signed distances on the grid, its colours on the surface."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.isosurface import extract_surface
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.convert.signed_distance import signed_distance
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape, AbstractSurface, AbstractVolume
from dreamkit.representations.grid_surface import GridSurface


@dataclass(frozen=True)
class ToSurface(AbstractConverter):
    """Signed distances at the grid's corners, a regression of the colours near the surface, then a fit of renders.

    A volume's surface is where a cell of the grid is half opaque, `sigma = log 2 / cell`, kept in [5, 50]; `level` > 0
    overrules it. The sign is that of the winding number, so open and self-crossing meshes are closed.
    Source: method card representations 7.4, 8.1 and 11.3 a.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractVolume, AbstractSurface)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (GridSurface,)

    level: float = 0.0
    "Density of a volume's surface, per scene unit."
    color_steps: int = 200
    fit: RenderedFit = field(default_factory=RenderedFit)

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`. Raises EmptySurface, ValueError where the shape is thinner than a cell."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        shape = student.shape
        assert isinstance(shape, GridSurface)
        shape.assign(self.distances(teacher, shape))
        yield from self._paint(teacher, student, generator)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def distances(self, teacher: Scene, student: GridSurface) -> Float[Tensor, " vertices"]:
        """Signed distances of the student's corners from the teacher's surface, negative inside."""
        mesh = bare_surface(teacher.shape, self.level or min(max(math.log(2) / student.cell, 5.0), 50.0))
        return signed_distance(mesh, student.corners)

    def _paint(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        """Regress base colours on random points of the student's surface."""
        shape = student.shape
        assert isinstance(shape, GridSurface)
        vertices = shape.mesh().vertices.detach()
        optimizer = torch.optim.Adam(shape.texture.parameters(), lr=0.01, eps=1e-15)
        for step in range(self.color_steps):
            pick = torch.randint(len(vertices), (4096,), generator=generator)
            jitter = torch.randn(4096, 3, generator=generator) * (0.25 * shape.cell)
            points = vertices[pick] + jitter
            with torch.no_grad():
                truth = base_color(teacher, points)
            loss = (base_color(student, points) - truth).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield Step(step + 1, self.color_steps, float(loss.detach()), stage="paint")


def bare_surface(shape: AbstractShape, level: float) -> Mesh:
    """The surface of a shape, without a graph; `level` is the density at which volumes are cut. Raises TypeError."""
    with torch.no_grad():
        if isinstance(shape, AbstractSurface):
            return shape.mesh()
        if isinstance(shape, AbstractVolume):
            return extract_surface(shape.density, level, shape.radius, fine=96)
    raise TypeError(f"only volumes and surfaces have a surface; got {type(shape).__name__}")


def base_color(scene: Scene, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """Display colour of the scene's material, without light."""
    return scene.material.base_color(scene.shape.features(points))
