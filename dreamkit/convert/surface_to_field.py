"""A surface to any field: density from its signed distance in closed form, colours nearby, then a fit of renders."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.convert.signed_distance import nearest_surface
from dreamkit.convert.to_surface import bare_surface, base_color
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractField, AbstractShape, AbstractSurface
from dreamkit.representations.density import volsdf_density
from dreamkit.schedules import Ramp, value_at

LIMITS = (-2.0, 7.0)
"Log-densities are compared within these (card 1.4): beyond, a ray sees no difference."

COLOR_WEIGHT = 30.0


@dataclass(frozen=True)
class SurfaceToField(AbstractConverter):
    """Regress `log sigma`, sigma the VolSDF density of the signed distance s, then fit renders.

    beta falls from `width` to a tenth of it; half of the points lie within 3 beta of the surface, half anywhere. Base
    colours are compared where |s| < 3 beta, at the nearest point of the surface. Source: method card representations
    11.3 b and c (VolSDF: 5.3).
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractSurface,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)

    steps: int = 300
    points: int = 8192
    width: float = 0.05
    encoding_rate: float = 0.02
    network_rate: float = 0.005
    fit: RenderedFit = field(default_factory=lambda: RenderedFit(normal=0.0))

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`; also needs a student with a renderer of fields."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        yield from self._regress(teacher, student, bare_surface(teacher.shape, 1.0), generator)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def _regress(self, teacher: Scene, student: Scene, mesh: Mesh, generator: torch.Generator) -> Iterator[Step]:
        shape = student.shape
        assert isinstance(shape, AbstractField)
        rates = {"encoding": self.encoding_rate, "networks": self.network_rate}
        groups = [{"params": list(g.parameters), "lr": rates[g.name]} for g in shape.parameter_groups()]
        optimizer = torch.optim.Adam(groups, eps=1e-15)
        narrowing = Ramp(self.width, 0.1 * self.width, shape="exponential")
        for step in range(self.steps):
            beta = value_at(narrowing, step / self.steps)
            points = self._draw(mesh, shape.radius, beta, generator)
            found = nearest_surface(mesh, points)
            truth = volsdf_density(found.distance, 1 / beta)
            loss = (_log(shape.density(points)) - _log(truth)).square().mean()
            near = found.distance.abs() < 3 * beta
            with torch.no_grad():
                color = base_color(teacher, found.point[near])
            # Display colours differ by less than log-densities do, and both heads share the encoding.
            loss = loss + COLOR_WEIGHT * (base_color(student, points[near]) - color).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield Step(step + 1, self.steps, float(loss.detach()), stage="regress")

    def _draw(self, mesh: Mesh, radius: float, beta: float, generator: torch.Generator) -> Float[Tensor, "points 3"]:
        half = self.points // 2
        face = torch.randint(len(mesh.faces), (half,), generator=generator)
        share = torch.rand(half, 3, 1, generator=generator)
        near = (mesh.corners[face] * (share / share.sum(dim=1, keepdim=True))).sum(dim=1)
        near = near + torch.randn(half, 3, generator=generator) * (1.5 * beta)
        anywhere = (torch.rand(self.points - half, 3, generator=generator) * 2 - 1) * radius
        return torch.cat([near, anywhere]).clamp(-radius, radius)


def _log(density: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    return density.clamp_min(1e-8).log().clamp(*LIMITS)
