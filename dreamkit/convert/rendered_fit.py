"""Fit a scene of any kind to the renders of another one: BoostDream's distillation of an asset."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import OrbitSampler
from dreamkit.convert.momentum import MomentumTeacher
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering, Step
from dreamkit.representations.rates import Rates
from dreamkit.schedules import value_at
from dreamkit.vectors import dot, normalize

ALL_AROUND = OrbitSampler(elevation=(-60.0, 75.0), distance=(2.2, 2.8), sphere_uniform=1.0)


RATES = Rates(
    encoding=0.02,
    networks=0.005,
    geometry=0.003,
    positions=0.002,
    scales=0.01,
    rotations=0.005,
    opacities=0.03,
    colors=0.03,
)
"At the start; a cosine takes them to zero."


@dataclass(frozen=True)
class RenderedFit:
    """`L = |C - C*|_1 + mask |A - A*|_1 + depth |D - D*|_1 on both + normal (1 - n n*)`, over random views.

    Starred renders are the teacher's; both stand before the same random colour, so that opacity shows. Adam, its rates
    on a cosine. Source: BoostDream (arXiv 2401.16764), stage 1; method card representations 11.3 c, with its weights.
    """

    steps: int = 300
    size: int = 64
    views: int = 2
    mask: float = 0.5
    depth: float = 0.1
    normal: float = 0.1
    momentum: float = 0.0
    "Above 0, the mean of the student's past is a second teacher, and what the student becomes at the end."
    past: float = 0.2
    "Weight of `|C - C_past|_1` against that second teacher."
    rates: Rates = RATES
    cameras: OrbitSampler = ALL_AROUND

    def __post_init__(self) -> None:
        if min(self.steps, self.size, self.views) < 1:
            raise ValueError(
                f"a RenderedFit needs steps, size and views of at least 1; got steps={self.steps}, size={self.size}, "
                f"views={self.views}"
            )

    def run(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        """Optimise the student in place; every draw comes from `generator`."""
        groups = student.shape.parameter_groups()
        optimizer = torch.optim.Adam(
            [{"params": list(g.parameters), "lr": value_at(getattr(self.rates, g.name), 0.0)} for g in groups],
            eps=1e-15,
        )
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps, eta_min=0.0)
        student.train()
        slow = MomentumTeacher(student.shape, self.momentum) if self.momentum else None
        past = None if slow is None else Scene(slow.shape, student.material, student.background, student.renderer)
        for step in range(self.steps):
            student.update(1.0, step, generator)
            terms = self.terms(teacher, student, generator, past)
            loss = torch.stack(list(terms.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            decay.step()
            if slow is not None:
                slow.follow(student.shape)
            metrics = {name: float(term.detach()) for name, term in terms.items()}
            yield Step(step + 1, self.steps, float(loss.detach()), metrics, stage="fit renders")
        if slow is not None:
            slow.settle(student.shape)
        student.eval()

    def terms(
        self, teacher: Scene, student: Scene, generator: torch.Generator, past: Scene | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted parts of the loss on fresh views."""
        cameras = scaled(self.cameras, student.shape.radius).sample(self.views, self.size, self.size, generator)
        behind = torch.rand(self.views, 1, 1, 3, generator=generator)
        with torch.no_grad():
            theirs = teacher.render(cameras, normals=self.normal > 0)
            truth = _before(theirs, teacher.background.color(cameras.rays().directions), behind)
        mine = student.render(cameras, normals=self.normal > 0)
        shown = _before(mine, student.background.color(cameras.rays().directions), behind)
        both = ((theirs.alpha > 0.5) & (mine.alpha > 0.5)).to(truth)
        terms = {
            "color": (shown - truth).abs().mean(),
            "mask": self.mask * (mine.alpha - theirs.alpha).abs().mean(),
            "depth": self.depth * (both * (mine.depth - theirs.depth).abs()).sum() / both.sum().clamp_min(1),
        }
        if self.normal > 0 and mine.normal is not None and theirs.normal is not None:
            away = 1 - dot(normalize(mine.normal), normalize(theirs.normal))
            terms["normal"] = self.normal * (both * away).sum() / both.sum().clamp_min(1)
        if past is not None:
            with torch.no_grad():
                before = past.render(cameras)
            terms["momentum"] = self.past * (mine.color - before.color).abs().mean()
        return terms


def scaled(sampler: OrbitSampler, radius: float) -> OrbitSampler:
    """The sampler for a scene of another radius."""
    low, high = sampler.distance
    return replace(sampler, distance=(low * radius, high * radius))


def _before(
    rendering: Rendering, old: Float[Tensor, "batch height width 3"], new: Float[Tensor, "batch 1 1 3"]
) -> Float[Tensor, "batch height width 3"]:
    """The images before another background."""
    return rendering.color + (1 - rendering.alpha) * (new - old)
