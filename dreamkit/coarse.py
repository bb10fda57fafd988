"""A run's coarse stage: another kind of shape first, because handles and holes grow more easily in a field."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from dreamkit.construct import type_name
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.plan import NoRoute, find_route
from dreamkit.recipe import Recipe
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.training.checkpoint import previous
from dreamkit.training.loop import train
from dreamkit.training.run import Distiller

CHECKPOINT = "coarse.safetensors"
"The file in a run's folder that holds the coarse stage while the run is not finished."


def check_coarse(recipe: Recipe) -> None:
    """Raise ValueError where a coarse stage cannot lead to the recipe's own shape, before any time is spent on it."""
    if recipe.coarse is None:
        return
    if recipe.edit is not None:
        raise ValueError("a run starts from a finished run or from a coarse stage; leave out [edit] or [coarse]")
    _converter(recipe, recipe.coarse)


def run_coarse(recipe: Recipe, distiller: Distiller, folder: Path, resume: bool) -> Generator[Step, None, Scene]:
    """Train the coarse stage's scene, and convert it to the scene that the recipe's own stage begins with.

    `distiller` is the coarse stage's. Its steps have the stage "coarse"; the converter's follow, and a note of what the
    conversion lost. All of it is the same to the last bit whenever it is repeated, so a run that was stopped in between
    goes on from the stage's checkpoint. Raises what `train` and the converter raise.
    """
    coarse = recipe.coarse
    assert coarse is not None
    teacher = coarse.scene().to(distiller.prior.device)
    path = folder / CHECKPOINT
    steps = train(teacher, distiller, coarse.training, seed=coarse.seed, path=path, resume=resume)
    yield from (replace(step, stage="coarse") for step in steps)
    # Converters work on the CPU, where libigl does; it takes seconds.
    student = recipe.scene()
    kept = yield from _converter(recipe, coarse).convert(teacher.cpu(), student, recipe.seed)
    yield Step(1, 1, 0.0, note=f"the coarse stage was converted: {kept.median_psnr:.1f} dB", stage="convert")
    return student.train()


def forget_coarse(folder: Path) -> None:
    """Remove the stage's checkpoints; the run's own holds all that it needs."""
    for path in (folder / CHECKPOINT, previous(folder / CHECKPOINT)):
        path.unlink(missing_ok=True)


def _converter(recipe: Recipe, coarse: Recipe) -> AbstractConverter:
    source, target, given = coarse.shape, recipe.shape, recipe.converter
    if given is not None:
        if not given.joins(source.cls, target.cls):
            raise NoRoute(f"converter: {type_name(type(given))} cannot make {target.name} of the coarse {source.name}")
        return given
    first, *others = find_route(source.cls, target.cls)
    if others:
        way = " and ".join(type_name(hop.target) for hop in (first, *others[:-1]))
        raise NoRoute(f"a coarse {source.name} becomes a {target.name} only by way of {way}: change coarse.shape")
    return first.converter()
