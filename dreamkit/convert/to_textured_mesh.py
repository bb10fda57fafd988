"""Anything to a textured mesh: its surface, unwrapped, with a texel for each place, then a fit of renders."""

import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.bake import composite_inwards, fill_texture, find_texels
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.clean import clean_surface
from dreamkit.convert.fidelity import compare
from dreamkit.convert.isosurface import CHUNK
from dreamkit.convert.rendered_fit import RATES, RenderedFit
from dreamkit.convert.to_surface import bare_surface
from dreamkit.convert.unwrap import unwrap
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractShape, AbstractSurface, AbstractVolume
from dreamkit.representations.textured_mesh import TexturedMesh

DILATION = 8
"Texels around a chart that copy their nearest neighbour in it."


@dataclass(frozen=True)
class ToTexturedMesh(AbstractConverter):
    """The surface, cleaned and unwrapped; each texel asks the teacher; then a fit of renders.

    A teacher that is a surface keeps its triangles, unless there are more than `faces`. Texels of a volume are
    composited inwards, as a camera straight above would see them. The fit moves texels only: corners have no prior of
    their own to keep them smooth. Source: method card representations 8.1, 8.2 and 11.3 c.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractVolume, AbstractSurface)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (TexturedMesh,)

    level: float = 0.0
    "Density of a volume's surface, per scene unit; 0 looks for the level whose mesh looks most like the teacher."
    faces: int = 10_000
    smoothing: int = 1
    "Rounds of Taubin's filter on a volume's surface."
    fit: RenderedFit = field(
        default_factory=lambda: RenderedFit(steps=150, normal=0.0, rates=replace(RATES, geometry=0.0))
    )

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`. Raises EmptySurface."""
        self.check(teacher, student)
        start = time.perf_counter()
        teacher.eval()
        shape = student.shape
        assert isinstance(shape, TexturedMesh)
        mesh = unwrap(self._surface(teacher), shape.texture)
        shape.replace_mesh(mesh, painted(teacher.shape, mesh, shape.texture))
        yield from self.fit.run(teacher, student, torch.Generator().manual_seed(seed))
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def _surface(self, teacher: Scene) -> Mesh:
        mesh = bare_surface(teacher, self.level)
        if not isinstance(teacher.shape, AbstractSurface):
            return clean_surface(mesh, self.faces, self.smoothing)
        return mesh if len(mesh.faces) <= self.faces else clean_surface(mesh, self.faces, smoothing=0)


@torch.no_grad()
def painted(shape: AbstractShape, mesh: Mesh, size: int) -> Float[Tensor, "size size channels"]:
    """The raw channels of `shape` at every texel of an unwrapped mesh, gaps between the charts filled."""

    def raw(points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        return shape.features(points)

    texels = find_texels(mesh, size)
    look = composite_inwards(shape.density, raw) if isinstance(shape, AbstractVolume) else raw
    parts = zip(texels.points.split(CHUNK), texels.normals.split(CHUNK), strict=True)
    values = torch.cat([look(points, normals) for points, normals in parts])
    texture = values.new_zeros(size, size, shape.channels)
    texture[texels.covered] = values
    return fill_texture(texture, texels.covered, DILATION)
