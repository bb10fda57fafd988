"""Fitting to pictures: any shape from any other, by what both renderers have for each ray."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dreamkit.cameras import Cameras, OrbitSampler
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import SOLID, compare
from dreamkit.convert.pvd import ALL_AROUND, scaled
from dreamkit.materials.backgrounds import Solid
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering, Step
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.rates import Rates
from dreamkit.schedules import Ramp, value_at


@dataclass(frozen=True)
class Pictures(AbstractConverter):
    """`L = mean |C_s - C_t|^2 + o mean |O_s - O_t|^2 + d mean huber((D_s - D_t) / radius)`, from fresh views around.

    C are colours before one random colour a step, O opacities, D distances along the ray, compared where both are
    solid. Nothing else is asked of a renderer, so every kind can teach every other; subclasses know where to begin.
    Both sides are rendered in evaluation: without lights, so that base colours are compared.
    Source: the ray-space interface of method card representations 1.10 (squares instead of its absolute values: a
    conversion is judged by PSNR).
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractShape,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractShape,)
    rank: ClassVar[int] = 10

    steps: int = 500
    views: int = 2
    "Fresh views a step."
    size: int = 64
    "Their height and width."
    opacity_weight: float = 1.0
    depth_weight: float = 0.02
    rates: Rates = field(default_factory=Rates)
    cameras: OrbitSampler = ALL_AROUND

    def __post_init__(self) -> None:
        if min(self.steps, self.views, self.size) < 1:
            raise ValueError(
                f"{type(self).__name__} needs steps, views and size of at least 1; "
                f"got steps={self.steps}, views={self.views}, size={self.size}"
            )

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        self.begin(teacher, student, generator)
        yield from self._fit(teacher, student, generator)
        student.eval()
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def begin(self, teacher: Scene, student: Scene, generator: torch.Generator) -> None:
        """Put the student where its search begins: as it is, unless a subclass knows better."""

    def _fit(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        groups = student.shape.parameter_groups()
        optimizer = torch.optim.Adam([{"params": list(g.parameters)} for g in groups], betas=(0.9, 0.99), eps=1e-15)
        sampler = scaled(self.cameras, student.shape.radius)
        for k in range(self.steps):
            progress = k / self.steps
            for group, own in zip(groups, optimizer.param_groups, strict=True):
                own["lr"] = value_at(getattr(self.rates, group.name), progress)
            student.update(progress, k, generator)
            terms = self.terms(teacher, student, sampler.sample(self.views, self.size, self.size, generator), generator)
            loss = torch.stack(list(terms.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            metrics = {name: float(term.detach()) for name, term in terms.items()}
            yield Step(k + 1, self.steps, float(loss.detach()), metrics, stage="convert")

    def terms(
        self, teacher: Scene, student: Scene, cameras: Cameras, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted parts of the loss over some views, by name."""
        color = torch.rand(3, generator=generator).tolist()
        with torch.no_grad():
            theirs = _before(teacher, color, cameras)
        mine = _before(student, color, cameras)
        return {
            "colors": F.mse_loss(mine.color, theirs.color),
            "opacities": self.opacity_weight * F.mse_loss(mine.alpha, theirs.alpha),
            "depths": self.depth_weight * _depth_loss(mine, theirs, student.shape.radius),
        }


def falling(start: float, end_share: float = 0.05, begin: float = 0.3) -> Ramp:
    """A rate that falls to a share of itself from `begin` of the run on."""
    return Ramp(start, start * end_share, begin=begin)


def _before(scene: Scene, color: list[float], cameras: Cameras) -> Rendering:
    """The scene in front of one colour."""
    background = Solid((color[0], color[1], color[2]))
    return Scene(scene.shape, scene.material, background, scene.renderer).render(cameras)


def _depth_loss(mine: Rendering, theirs: Rendering, radius: float) -> Float[Tensor, ""]:
    solid = (mine.alpha.detach() > SOLID) & (theirs.alpha > SOLID)
    if not bool(solid.any()):
        return mine.depth.sum() * 0
    return F.huber_loss(mine.depth[solid] / radius, theirs.depth[solid] / radius, delta=0.1)
