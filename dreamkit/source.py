"""What a run can start from, instead of from nothing: a finished run, or a file of another tool."""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from dreamkit.construct import type_name
from dreamkit.convert.keep import Keep
from dreamkit.convert.plan import find_way
from dreamkit.convert.run import convert_into
from dreamkit.convert.students import renderer_spec
from dreamkit.export.check_file import companions
from dreamkit.export.import_shape import holds_cloud, import_shape
from dreamkit.names import existing
from dreamkit.recipe import Recipe, SourcePlan, load_recipe
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh
from dreamkit.training.checkpoint import load_checkpoint

CHECKPOINT = "checkpoint.safetensors"
"The file in a run's folder that holds its scene."
FILLING = 0.85
"Share of a shape's radius that the ball around an imported asset has."


class SourceChanged(ValueError):
    """What a run began with is not there any more; the message says what to do."""


def load_scene(recipe: Recipe, folder: Path) -> Scene:
    """The scene of a run's checkpoint; raises FileNotFoundError and DamagedCheckpoint."""
    scene = recipe.scene()
    scene.load_state_dict(load_checkpoint(folder / CHECKPOINT).part("scene"))
    return scene.eval()


def open_scene(path: Path, radius: float = 1.0) -> Scene:
    """The scene of a run's folder, or that of a mesh or a cloud of Gaussians in a file, in a ball of 0.85 `radius`.

    Raises FileNotFoundError, DamagedCheckpoint, and what `import_shape` raises.
    """
    if not path.is_file():
        return load_scene(load_recipe(str(path / "recipe.toml")), path)
    shape = import_shape(path, FILLING * radius)
    return Scene(shape, renderer=renderer_spec(type(shape)).build()).eval()


def with_source(recipe: Recipe) -> Recipe:
    """The recipe as it starts from its source: that takes the place of a coarse stage, and stands where it is found.

    The path becomes absolute, and the content's SHA-256 is noted. Raises ValueError for a source that is missing or
    beside an edit, SourceChanged where it is not what the recipe says, DamagedFile, and NoRoute where no converter
    leads to the recipe's shape.
    """
    if recipe.source is None:
        return recipe
    if recipe.edit is not None:
        raise ValueError(
            "this recipe edits a finished run and starts from that (--set edit.run=outputs/FOLDER); leave the source "
            "out, or take a recipe that does not edit, such as toybox-texture"
        )
    path = _found(recipe.source)
    digest = content_digest(path)
    if recipe.source.sha256 not in ("", digest):
        raise SourceChanged(_changed(path))
    find_way(_kind(path), recipe.shape.cls, None if recipe.converter is None else type(recipe.converter))
    return replace(recipe, source=SourcePlan(str(path), digest), coarse=None)


def check_unchanged(recipe: Recipe, stored: Path) -> None:
    """Raise SourceChanged where the run whose recipe is `stored` began with another content of the same source."""
    before = load_recipe(str(stored)).source
    now = recipe.source
    if before is not None and now is not None and before.path == now.path and before.sha256 != now.sha256:
        raise SourceChanged(_changed(Path(now.path)))


def start_from_source(recipe: Recipe, teacher: Scene) -> Generator[Step, None, Scene]:
    """Make the scene that the recipe's own stage begins with out of the source's, `teacher`.

    The same to the last bit whenever it is repeated. Raises what converters raise.
    """
    assert recipe.source is not None
    student = recipe.scene()
    reports = yield from convert_into(teacher, student, recipe.converter, recipe.seed)
    kinds = f"{type_name(type(teacher.shape))}, now {recipe.shape.name}"
    # A shape that is kept bit for bit may have been given fresh colours: pictures would say nothing of it.
    same = type(teacher.shape) is recipe.shape.cls and recipe.shape.cls in Keep.makes
    kept = "its shape as it is" if same else f"{min(report.median_psnr for report in reports):.1f} dB kept"
    yield Step(1, 1, 0.0, note=f"started from {Path(recipe.source.path).name} ({kinds}): {kept}", stage="convert")
    return student.train()


def content_digest(path: Path) -> str:
    """SHA-256 of what a source holds: a file and those that it names, or a run's recipe and checkpoint.

    Raises OSError and DamagedFile.
    """
    parts = (path, *companions(path)) if path.is_file() else (path / "recipe.toml", path / CHECKPOINT)
    digest = hashlib.sha256()
    for content in _digests(parts):
        digest.update(content)
    return digest.hexdigest()


def _digests(parts: tuple[Path, ...]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            yield hashlib.file_digest(file, "sha256").digest()


def _found(plan: SourcePlan) -> Path:
    if not plan.path.strip():
        raise ValueError(
            "this recipe changes an asset that is there already; say which: --source FILE, or --source outputs/FOLDER"
        )
    path = existing(plan.path)
    if path is None:
        raise ValueError(f"no such file or folder: {plan.path}. A source is a run's folder, or a 3D file")
    missing = [name for name in ("recipe.toml", CHECKPOINT) if not path.is_file() and not (path / name).is_file()]
    if missing:
        raise ValueError(
            f"{path} is no run that can be started from: {missing[0]} is missing; name the folder of a run"
        )
    return path.resolve()


def _kind(path: Path) -> type[AbstractShape]:
    if not path.is_file():
        return load_recipe(str(path / "recipe.toml")).shape.cls
    return Gaussians if holds_cloud(path) else TexturedMesh


def _changed(path: Path) -> str:
    return (
        f"{path} has changed since this run began, which goes on with nothing else. Put the old content back, or begin "
        "a new run with the new one: --out DIR"
    )
