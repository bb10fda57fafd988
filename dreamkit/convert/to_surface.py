"""Anything to DMTet or FlexiCubes: its surface's signed distances on the grid, its colours on the surface."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import orbit
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.isosurface import extract_surface, sample_density
from dreamkit.convert.level import find_level
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.convert.samples import seen_density
from dreamkit.convert.signed_distance import signed_distance
from dreamkit.convert.silhouette_level import half_opaque_level
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape, AbstractSurface, AbstractVolume
from dreamkit.representations.grid_surface import GridSurface
from dreamkit.representations.hash_field import HashField

VIEWS, SIZE = 10, 64
"Pictures by which a density level is chosen, and their height and width."
POINTS = 1 << 15
"Points near the surface at which colours are asked."


@dataclass(frozen=True)
class ToSurface(AbstractConverter):
    """Signed distances at the grid's corners, the colours near the surface, then a fit of renders.

    Colours are a hash field's own grid and network where the surface's texture has their sizes (as in threestudio),
    else a regression of `color_steps` steps.

    A volume is cut at the density `level`; 0 looks for the one whose silhouettes are as large as what is half opaque
    (`half_opaque_level`). The sign is that of the winding number, so open and self-crossing meshes are closed.
    Source: method card representations 7.4, 8.1 and 11.3 a.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractVolume, AbstractSurface)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (GridSurface,)

    level: float = 0.0
    "Density of a volume's surface, per scene unit; 0 looks for the level with the teacher's silhouettes."
    level_share: float = 1.0
    "Multiplies the level that was looked for: less cuts thicker, so that thin parts outlive a smoothing that follows."
    color_steps: int = 200
    fit: RenderedFit = field(default_factory=RenderedFit)

    def __post_init__(self) -> None:
        if self.level < 0 or self.level_share <= 0:
            raise ValueError(
                f"ToSurface needs level >= 0 and level_share > 0; got level={self.level}, "
                f"level_share={self.level_share}"
            )

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`. Raises EmptySurface, ValueError where the shape is thinner than a cell."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        shape = student.shape
        assert isinstance(shape, GridSurface)
        shape.assign(self.distances(teacher, shape))
        if not inherit_texture(teacher, student):
            yield from self._paint(teacher, student, generator)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def distances(self, teacher: Scene, student: GridSurface) -> Float[Tensor, " vertices"]:
        """Signed distances of the student's corners from the teacher's surface, negative inside."""
        level = self.level
        if isinstance(teacher.shape, AbstractVolume) and not level:
            level = self.level_share * half_opaque_level(teacher)
        return signed_distance(bare_surface(teacher, level), student.corners)

    def _paint(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        """Regress base colours on random points of the student's surface."""
        shape = student.shape
        assert isinstance(shape, GridSurface)
        vertices = shape.mesh().vertices.detach()
        pick = torch.randint(len(vertices), (POINTS,), generator=generator)
        points = vertices[pick] + torch.randn(POINTS, 3, generator=generator) * (0.25 * shape.cell)
        # Asked once: a cloud of Gaussians takes ten times as long to answer as the student to learn.
        with torch.no_grad():
            truth = base_color(teacher, points)
        optimizer = torch.optim.Adam(shape.texture.parameters(), lr=0.01, eps=1e-15)
        for step in range(self.color_steps):
            some = torch.randint(POINTS, (4096,), generator=generator)
            loss = (base_color(student, points[some]) - truth[some]).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield Step(step + 1, self.color_steps, float(loss.detach()), stage="paint")


@torch.no_grad()
def bare_surface(teacher: Scene, level: float) -> Mesh:
    """The surface of a scene's shape, without a graph; volumes are cut at the density `level`, 0 looks for a good one.

    Raises TypeError for other shapes, EmptySurface where there is none.
    """
    shape = teacher.shape
    if isinstance(shape, AbstractSurface):
        return shape.mesh()
    if not isinstance(shape, AbstractVolume):
        raise TypeError(f"only volumes and surfaces have a surface; got {type(shape).__name__}")
    return extract_surface(seen_density(teacher), level or visible_level(teacher), shape.radius, fine=96)


@torch.no_grad()
def visible_level(teacher: Scene) -> float:
    """The density at which a mesh looks most like pictures of the volume (`find_level`); raises EmptySurface."""
    shape = teacher.shape
    assert isinstance(shape, AbstractVolume)
    half = torch.full((3,), float(shape.radius))
    # A spiral over the sphere; neighbours in the list are far apart, so the odd ones check the even ones.
    turn, height = torch.arange(VIEWS) * 137.508, torch.linspace(60, -45, VIEWS)
    cameras = orbit(turn, height, 2.5 * shape.radius, 40.0, SIZE, SIZE)
    behind = teacher.background.color(cameras.rays().directions)
    grid = sample_density(seen_density(teacher), -half, half, 48)
    return find_level(grid, teacher.render(cameras), cameras, behind).density


def inherit_texture(teacher: Scene, student: Scene) -> bool:
    """Copy a hash field's features to a surface's texture of the same sizes (card 7.4); False where that cannot be.

    Not with the field's `latent`, nor to another material or radius, where a feature means something else.
    """
    source, target = teacher.shape, student.shape
    if not isinstance(source, HashField) or not isinstance(target, GridSurface) or source.trunk is not None:
        return False
    if type(teacher.material) is not type(student.material) or source.radius != target.radius:
        return False
    return target.texture.adopt(source.table, source.feature_head, source.levels)


def base_color(scene: Scene, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """Display colour of the scene's material, without light."""
    return scene.material.base_color(scene.shape.features(points))
