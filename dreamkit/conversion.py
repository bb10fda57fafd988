"""`dreamkit convert`: a run's folder or a file in, a folder as runs leave it with another kind of shape out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dreamkit.construct import RecipeError, read_spec, unknown
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.plan import find_way, kind, kinds
from dreamkit.convert.run import Converted, convert
from dreamkit.convert.students import renderer_spec
from dreamkit.export.asset import ExportReport, check_export, export_asset
from dreamkit.generate import FolderInUse, RunLog, claim, logged, write_metrics
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import Table, apply_settings
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape
from dreamkit.source import CHECKPOINT, load_scene, open_scene
from dreamkit.training.checkpoint import Checkpoint, prefixed, save_checkpoint
from dreamkit.training.lock import exclusive

SECTIONS = ("shape", "converter", "export")
"What settings of a conversion may change."


def convert_run(
    source: Path, to: str, out: Path, by: str | None = None, settings: Sequence[str] = (), seed: int = 0
) -> Iterator[Step]:
    """Convert a scene to the kind `to`, and export it into the folder `out`.

    `source` is the folder of a run, or a file that `import_shape` reads. `by` names a converter that is taken wherever
    it joins two kinds; without it each pair of kinds has its own. `settings` are `shape.KEY=VALUE` (the new shape's
    constructor), `converter.KEY=VALUE` and `export.KEY=VALUE`. Beside the asset, `out` holds recipe.toml,
    checkpoint.safetensors and metrics.json, so that `dreamkit export` and edits (`edit.run`) read it as any run. One
    process at a time works in `out`. Raises RecipeError, ValueError for unknown kinds and files, NoRoute, FolderInUse,
    FolderBusy, FileNotFoundError, DamagedFile and DamagedCheckpoint.
    """
    converter, options = _wanted(to, by, settings)
    begun, teacher = _opened(source, _export_settings(settings))
    check_export(begun.export)
    with exclusive(out):
        if (out / "recipe.toml").exists():
            raise FolderInUse(f"{out} holds a run already (recipe.toml); choose another folder: --out DIR")
        log = RunLog(out / "log.jsonl")
        log.enter("convert")
        done: Converted = yield from logged(convert(teacher, to, options, converter, seed), log)
        recipe = _recipe(begun, done, seed)
        # Where there is a recipe, there is its scene: a conversion that is killed now is finished by `dreamkit export`.
        save_checkpoint(out / CHECKPOINT, _finished(recipe, done, seed))
        claim(recipe, out, resume=False)
        log.enter("export")
        report: ExportReport = yield from logged(export_asset(done.scene, out, recipe.export), log)
        log.enter("done")
        write_metrics(out, _metrics(recipe, source, done, report, log))


def _opened(source: Path, settings: Sequence[str]) -> tuple[Recipe, Scene]:
    """The scene, and a recipe for it; that of a file asks for what the file's name says."""
    if not source.is_file():
        recipe = load_recipe(str(source / "recipe.toml"), settings)
        return recipe, load_scene(recipe, source)
    words = re.sub(r"[\W_]+", " ", source.stem).strip()
    recipe = load_recipe("toybox", settings).asking(words or "an imported asset", 0)
    return recipe, open_scene(source)


def check_conversion(folder: Path, to: str, by: str | None = None, settings: Sequence[str] = ()) -> None:
    """Refuse what `convert_run` would refuse of a run's folder, and compute nothing.

    Raises RecipeError, ValueError for unknown kinds, NoRoute and FileNotFoundError.
    """
    converter, _ = _wanted(to, by, settings)
    recipe = load_recipe(str(folder / "recipe.toml"), _export_settings(settings))
    check_export(recipe.export)
    find_way(recipe.shape.cls, kind(to), None if converter is None else type(converter))


def _wanted(to: str, by: str | None, settings: Sequence[str]) -> tuple[AbstractConverter | None, dict[str, object]]:
    """The converter, and the options of the new shape."""
    table = apply_settings({}, settings)
    for section in table:
        if section not in SECTIONS:
            raise RecipeError(f"--set {section}: {unknown(repr(section), SECTIONS)}")
        if not isinstance(table[section], dict):
            raise RecipeError(f"--set {section}: a section, not a value; set one of its options: {section}.KEY=VALUE")
    return _converter(by, table), _shape_options(to, table)


def _converter(by: str | None, table: Table) -> AbstractConverter | None:
    given = table.get("converter", {})
    if by is None and given:
        raise RecipeError("converter: settings of a converter need its name: --by pvd, for example")
    return None if by is None else read_spec("converter", {**given, "type": by}, AbstractConverter).build()


def _shape_options(to: str, table: Table) -> dict[str, object]:
    name = next(name for name, cls in kinds().items() if cls is kind(to))
    return dict(read_spec("shape", {**table.get("shape", {}), "type": name}, AbstractShape).arguments)


def _export_settings(settings: Sequence[str]) -> list[str]:
    return [setting for setting in settings if setting.strip().startswith("export.")]


def _recipe(source: Recipe, done: Converted, seed: int) -> Recipe:
    """The recipe that makes such a scene; its renderer is replaced where the old one cannot draw it."""
    drawn = renderer_spec(type(done.scene.shape))
    renderer = source.renderer if issubclass(source.renderer.cls, drawn.cls) else drawn
    edited = replace(source, shape=done.shape, material=done.material or source.material, renderer=renderer)
    return replace(edited, edit=None, source=None, coarse=None, converter=None, seed=seed)


def _finished(recipe: Recipe, done: Converted, seed: int) -> Checkpoint:
    """What a run of this recipe would leave after its last step, without an optimiser's memory."""
    facts = {"step": recipe.training.steps, "steps": recipe.training.steps, "seed": seed, "rollbacks": 0}
    generator = torch.Generator().manual_seed(seed)
    tensors = prefixed("scene", done.scene.state_dict()) | {"generator": generator.get_state()}
    return Checkpoint(tensors, {name: str(value) for name, value in facts.items()})


def _metrics(recipe: Recipe, source: Path, done: Converted, report: ExportReport, log: RunLog) -> dict[str, object]:
    steps = [{"to": kind, **report.entries()} for kind, report in zip(done.route[1:], done.reports, strict=True)]
    return {
        "prompt": recipe.prompt.text,
        "converted_from": str(source),
        "route": list(done.route),
        "conversions": steps,
        **done.reports[-1].entries(),
        "faces": len(report.mesh.faces),
        "mesh_psnr_median": report.fidelity.median_psnr,
        "seconds": log.seconds,
    }
