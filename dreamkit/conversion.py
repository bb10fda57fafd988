"""`dreamkit convert`: a run's folder in, a folder of the same form with another kind of shape out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dreamkit.construct import RecipeError, read_spec, unknown
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.plan import find_route, kind, kinds
from dreamkit.convert.run import Converted, convert
from dreamkit.convert.students import renderer_spec
from dreamkit.export.asset import ExportReport, export_asset
from dreamkit.generate import FolderInUse, RunLog, claim, load_scene, logged, write_metrics
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import Table, apply_settings
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape
from dreamkit.training.checkpoint import Checkpoint, prefixed, save_checkpoint

SECTIONS = ("shape", "converter", "export")
"What settings of a conversion may change."


def convert_run(
    folder: Path, to: str, out: Path, by: str | None = None, settings: Sequence[str] = (), seed: int = 0
) -> Iterator[Step]:
    """Convert the scene of a run's checkpoint to the kind `to`, and export it into the folder `out`.

    `by` names a converter that is taken wherever it joins two kinds; without it each pair of kinds has its own.
    `settings` are `shape.KEY=VALUE` (the new shape's constructor), `converter.KEY=VALUE` and `export.KEY=VALUE`. Beside
    the asset, `out` holds recipe.toml, checkpoint.safetensors and metrics.json, so that `dreamkit export` and edits
    (`edit.run`) read it as any run. Raises RecipeError, ValueError for unknown kinds, NoRoute, FolderInUse,
    FileNotFoundError and DamagedCheckpoint.
    """
    source, converter, options = check_conversion(folder, to, by, settings)
    teacher = load_scene(source, folder)
    if (out / "recipe.toml").exists():
        raise FolderInUse(f"{out} holds a run already (recipe.toml); choose another folder: --out DIR")
    out.mkdir(parents=True, exist_ok=True)
    log = RunLog(out / "log.jsonl")
    log.enter("convert")
    done: Converted = yield from logged(convert(teacher, to, options, converter, seed), log)
    recipe = _recipe(source, done, seed)
    claim(recipe, out, resume=False)
    save_checkpoint(out / "checkpoint.safetensors", _finished(recipe, done, seed))
    log.enter("export")
    report: ExportReport = yield from logged(export_asset(done.scene, out, recipe.export), log)
    log.enter("done")
    write_metrics(out, _metrics(recipe, folder, done, report, log))


def check_conversion(
    folder: Path, to: str, by: str | None = None, settings: Sequence[str] = ()
) -> tuple[Recipe, AbstractConverter | None, dict[str, object]]:
    """What `convert_run` is asked for: the run's recipe, the converter, and the new shape's options; computes nothing.

    Raises RecipeError, ValueError for unknown kinds, NoRoute and FileNotFoundError.
    """
    table = apply_settings({}, settings)
    for section in table:
        if section not in SECTIONS:
            raise RecipeError(f"--set {section}: {unknown(repr(section), SECTIONS)}")
        if not isinstance(table[section], dict):
            raise RecipeError(f"--set {section}: a section, not a value; set one of its options: {section}.KEY=VALUE")
    converter, options = _converter(by, table), _shape_options(to, table)
    source = load_recipe(str(folder / "recipe.toml"), _export_settings(settings))
    find_route(source.shape.cls, kind(to), None if converter is None else type(converter))
    return source, converter, options


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
    return replace(source, shape=done.shape, renderer=renderer, edit=None, seed=seed)


def _finished(recipe: Recipe, done: Converted, seed: int) -> Checkpoint:
    """What a run of this recipe would leave after its last step, without an optimiser's memory."""
    facts = {"step": recipe.training.steps, "steps": recipe.training.steps, "seed": seed, "rollbacks": 0}
    generator = torch.Generator().manual_seed(seed)
    tensors = prefixed("scene", done.scene.state_dict()) | {"generator": generator.get_state()}
    return Checkpoint(tensors, {name: str(value) for name, value in facts.items()})


def _metrics(recipe: Recipe, folder: Path, done: Converted, report: ExportReport, log: RunLog) -> dict[str, object]:
    steps = [{"to": kind, **report.entries()} for kind, report in zip(done.route[1:], done.reports, strict=True)]
    return {
        "prompt": recipe.prompt.text,
        "converted_from": str(folder),
        "route": list(done.route),
        "conversions": steps,
        **done.reports[-1].entries(),
        "faces": len(report.mesh.faces),
        "mesh_psnr_median": report.fidelity.median_psnr,
        "seconds": log.seconds,
    }
