"""Progressive volume distillation: any field from any volume, matched by features, then by values, then by pixels."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import OrbitSampler
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare, judging_cameras
from dreamkit.convert.field_optimizer import FieldRates
from dreamkit.convert.inherit import inherit, inherit_occupancy
from dreamkit.convert.matching import (
    DensityRange,
    clamped_density_loss,
    color_loss,
    excess,
    feature_loss,
    frobenius,
    has_latents,
    pixel_loss,
    select,
)
from dreamkit.convert.momentum import MomentumTeacher
from dreamkit.convert.practice import Practice
from dreamkit.convert.rendered_fit import scaled
from dreamkit.convert.samples import PointValues, gather, look, seen_density, shoot, volume
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractField, AbstractShape, AbstractVolume
from dreamkit.representations.tensor_field import VmField

ALL_AROUND = OrbitSampler(elevation=(-80.0, 80.0), distance=(2.2, 2.8), stratified=False, sphere_uniform=1.0)
"Where the student looks from, for a scene of radius 1; distances grow with the radius."
SURROUNDINGS = -6.0
"Log-density that empty space outside the occupied cells is kept below: no ray goes there, but an exporter does."


@dataclass(frozen=True)
class PVD(AbstractConverter):
    """`L = r ||C_s - C_t|| + v (||c_s - c_t|| + ||l_s - l_t||) + f decay^k ||f_s - f_t||`, in three stages.

    f are the 16-vectors, l the log-densities clamped to `limits`, c the points' colours, C the pixels'; all norms are
    un-normalised. Until `feature_share` of the steps only f counts, until `value_share` also c and l, then all; the
    first stage falls away where a side has no features. The student marches the teacher's occupancy grid, and takes
    over what has the same meaning and shape. Added to the card: `f` pulls log-densities back into the range, and
    points all over the cube keep it empty where the teacher is. `momentum` > 0 adds the mean of the student's past as a
    second teacher. Sources: arXiv 2211.15977, section 3; method card representations 1.4 to 1.6.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractVolume,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)

    steps: int = 1000
    rays: int = 1024
    size: int = 64
    "Height and width of the views that rays are drawn from."
    poses: int = 32
    "Fresh poses an epoch, one a step."
    feature_share: float = 1 / 15
    value_share: float = 1 / 6
    "The card's 2000 and 5000 of 30 000 steps."
    pixel_weight: float = 1.0
    value_weight: float = 0.002
    feature_weight: float = 0.002
    feature_decay: float = 0.995
    "For each step."
    vm_weight: float = 1e-4
    "Of the mean absolute density factors of a VM student."
    limits: DensityRange = field(default_factory=DensityRange)
    encoding_rate: float = 0.02
    network_rate: float = 0.005
    final_rate: float = 0.007
    "Share of the rates that is left at the end of a cosine."
    momentum: float = 0.0
    judged: int = 64
    "Height and width of the held-out views of the report."
    cameras: OrbitSampler = ALL_AROUND

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.feature_share <= self.value_share <= 1:
            raise ValueError(
                f"{type(self).__name__} needs steps >= 1 and 0 <= feature_share <= value_share <= 1; "
                f"got steps={self.steps}, feature_share={self.feature_share}, value_share={self.value_share}"
            )

    def practice(self, radius: float, generator: torch.Generator) -> Practice:
        """What the student is shown."""
        return Practice(scaled(self.cameras, radius), self.poses, self.size, self.rays, generator)

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`; also needs a student with a VolumeRenderer."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        inherit(teacher, student)
        inherit_occupancy(teacher, student, generator)
        yield from self._distil(teacher, student, generator)
        student.eval()
        seconds = time.perf_counter() - start
        cameras = judging_cameras(self.judged, 2.5 * student.shape.radius)
        return compare(teacher, student, cameras, seconds)

    def _distil(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        rates = FieldRates(self.encoding_rate, self.network_rate, self.final_rate)
        optimizer = rates.optimizer(student.shape)
        scheduler = rates.scheduler(optimizer, self.steps)
        practice = self.practice(student.shape.radius, generator)
        slow = MomentumTeacher(volume(student), self.momentum) if self.momentum else None
        for k in range(self.steps):
            terms = self.terms(teacher, student, practice, k, generator)
            if slow is not None:
                terms["momentum"] = self.value_weight * slow.disagreement(volume(student), self.rays, generator)
            loss = torch.stack(list(terms.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            if slow is not None:
                slow.follow(volume(student))
            metrics = {name: float(term.detach()) for name, term in terms.items()}
            yield Step(k + 1, self.steps, float(loss.detach()), metrics, stage="convert")
        if slow is not None:
            slow.settle(volume(student))

    def terms(
        self, teacher: Scene, student: Scene, practice: Practice, step: int, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted parts of the loss at a step, by name."""
        rays = practice.draw()
        jitter = torch.rand(len(rays), generator=generator)
        points = shoot(student, rays, jitter)
        with torch.no_grad():
            theirs = look(teacher, points.position, points.direction)
        mine = look(student, points.position, points.direction)
        stage = self.stage(step, has_latents(mine, theirs))
        kept = None
        pixels: dict[str, Float[Tensor, ""]] = {}
        if stage == 3:
            with torch.no_grad():
                target = gather(points, theirs)
            seen = gather(points, mine)
            kept = practice.points(points, seen, target)
            practice.observe(rays, seen, target)
            pixels["pixels"] = self.pixel_weight * pixel_loss(seen, target)
        values = self._value_terms(select(mine, kept), select(theirs, kept), stage, step)
        around = {"surroundings": self.value_weight * surroundings_loss(teacher, student, self.rays, generator)}
        return pixels | values | around | self._shape_terms(student.shape, stage)

    def stage(self, step: int, features: bool = True) -> int:
        """1, 2 or 3; without features the first one is the second."""
        if step < self.feature_share * self.steps and features:
            return 1
        return 2 if step < self.value_share * self.steps else 3

    def _value_terms(
        self, mine: PointValues, theirs: PointValues, stage: int, step: int
    ) -> dict[str, Float[Tensor, ""]]:
        fading = self.feature_weight * self.feature_decay**step
        terms = {"features": fading * feature_loss(mine, theirs, self.limits)}
        if stage > 1:
            terms["colors"] = self.value_weight * color_loss(mine, theirs)
            terms["densities"] = self.value_weight * clamped_density_loss(mine.density, theirs.density, self.limits)
        return terms

    def _shape_terms(self, shape: AbstractShape, stage: int) -> dict[str, Float[Tensor, ""]]:
        if stage < 3 or not self.vm_weight or not isinstance(shape, VmField):
            return {}
        return {"factors": self.vm_weight * shape.density_magnitude()}


def surroundings_loss(teacher: Scene, student: Scene, count: int, generator: torch.Generator) -> Float[Tensor, ""]:
    """Norm of the `excess` over log-density -6 at random points of the whole cube, occupied or not."""
    points = (torch.rand(count, 3, generator=generator) * 2 - 1) * student.shape.radius
    with torch.no_grad():
        theirs = seen_density(teacher)(points)
    over = excess(volume(student).density(points), theirs, DensityRange(SURROUNDINGS, 7.0))
    return frobenius(over, torch.zeros_like(over))
