"""`convert`: a scene in, the same scene as another kind of shape out."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dreamkit.construct import type_name
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.fidelity import Fidelity
from dreamkit.convert.plan import find_route, kind
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step


@dataclass(frozen=True)
class Converted:
    """The new scene, and what each step on the way to it lost."""

    scene: Scene
    route: tuple[str, ...]
    "Kinds on the way, from the teacher's to the student's."
    reports: tuple[Fidelity, ...]
    "One for each step, against the scene before it."


def convert(
    teacher: Scene,
    to: str,
    options: Mapping[str, Any] | None = None,
    by: AbstractConverter | None = None,
    seed: int = 0,
) -> Generator[Step, None, Converted]:
    """Make a scene of kind `to` ("voxel", "mlp_field", ...) that looks like `teacher`; the teacher stays as it is.

    `options` are constructor arguments of the last shape. `by` is used wherever it joins two kinds on the way; other
    converters run with their defaults. Yields the converters' steps; the result is the generator's return value.
    Raises ValueError for unknown kinds and options, NoRoute where no converter leads there.
    """
    target = kind(to)
    hops = find_route(type(teacher.shape), target, None if by is None else type(by))
    scene, reports = teacher, []
    for hop in hops:
        spec = student_spec(scene.shape, hop.target, (options or {}) if hop is hops[-1] else {})
        student = student_scene(scene, spec.build(seed=seed))
        converter = by if by is not None and isinstance(by, hop.converter) else hop.converter()
        report = yield from _named(converter.convert(scene, student, seed), type_name(hop.target), len(hops) > 1)
        reports.append(report)
        scene = student
    route = (type_name(type(teacher.shape)), *(type_name(hop.target) for hop in hops))
    return Converted(scene, route, tuple(reports))


def _named(steps: Generator[Step, None, Fidelity], target: str, many: bool) -> Generator[Step, None, Fidelity]:
    """The steps, with the kind that they lead to in the stage's name where there are several conversions."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        yield replace(step, stage=f"{step.stage} {target}") if many else step
