"""`convert`: a scene in, the same scene as another kind of shape out."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dreamkit.construct import Spec, type_name
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.fidelity import Fidelity
from dreamkit.convert.plan import Hop, find_way, kind
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step


@dataclass(frozen=True)
class Converted:
    """The new scene, and what each step on the way to it lost."""

    scene: Scene
    shape: Spec
    "How its shape was constructed: what a recipe says."
    route: tuple[str, ...]
    "Kinds on the way, from the teacher's to the student's."
    reports: tuple[Fidelity, ...]
    "One for each step, against the scene before it."
    material: Spec | None = None
    "How its material was constructed, where a converter made a new one."


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
    hops = find_way(type(teacher.shape), target, None if by is None else type(by))
    scene, spec, reports, material = teacher, None, [], None
    for hop in hops:
        converter = _converter(hop, by)
        wanted = (options or {}) if hop is hops[-1] else {}
        spec = student_spec(scene.shape, hop.target, {**converter.shape_options(scene), **wanted})
        surface = converter.material()
        material = material if surface is None else surface
        student = student_scene(scene, spec.build(seed=seed), None if surface is None else surface.build())
        report = yield from _named(converter.convert(scene, student, seed), type_name(hop.target), len(hops) > 1)
        reports.append(report)
        scene = student
    route = (type_name(type(teacher.shape)), *(type_name(hop.target) for hop in hops))
    assert spec is not None
    return Converted(scene, spec, route, tuple(reports), material)


def convert_into(
    teacher: Scene, student: Scene, by: AbstractConverter | None = None, seed: int = 0
) -> Generator[Step, None, tuple[Fidelity, ...]]:
    """Make `student`, a scene of any kind, look like `teacher`, over other kinds where no converter joins the two.

    `by` has a part in it (`find_way`); kinds on the way have the teacher's material. Yields the converters' steps;
    returns what each of them lost, against the scene before it. Raises NoRoute.
    """
    hops = find_way(type(teacher.shape), type(student.shape), None if by is None else type(by))
    scene, reports = teacher, []
    for hop in hops:
        converter, last = _converter(hop, by), hop is hops[-1]
        target = student if last else _between(scene, hop, converter, seed)
        report = yield from _named(converter.convert(scene, target, seed), type_name(hop.target), len(hops) > 1)
        reports.append(report)
        scene = target
    return tuple(reports)


def _converter(hop: Hop, by: AbstractConverter | None) -> AbstractConverter:
    return by if by is not None and type(by) is hop.converter else hop.converter()


def _between(scene: Scene, hop: Hop, converter: AbstractConverter, seed: int) -> Scene:
    """A fresh scene of a kind on the way."""
    spec = student_spec(scene.shape, hop.target, converter.shape_options(scene))
    return student_scene(scene, spec.build(seed=seed))


def _named(steps: Generator[Step, None, Fidelity], target: str, many: bool) -> Generator[Step, None, Fidelity]:
    """The steps, with the kind that they lead to in the stage's name where there are several conversions."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        yield replace(step, stage=f"{step.stage} {target}") if many else step
