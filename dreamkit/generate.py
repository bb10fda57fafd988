"""`generate`: a prompt in, a folder with an asset out."""

import json
import math
import resource
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dreamkit.coarse import check_coarse, forget_coarse, run_coarse
from dreamkit.construct import RecipeError
from dreamkit.export.asset import ExportReport, check_export, export_asset
from dreamkit.export.atomic import sweep, write_atomically
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.prompts import embed_prompts
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.source import CHECKPOINT, check_unchanged, load_scene, open_scene, start_from_source, with_source
from dreamkit.training.checkpoint import previous
from dreamkit.training.lock import exclusive
from dreamkit.training.loop import train
from dreamkit.training.original import Original
from dreamkit.training.run import Distiller


class FolderInUse(ValueError):
    """The output folder holds another run; the message says how to go on."""


@dataclass
class RunLog:
    """`log.jsonl`, one JSON object a line, and the seconds that each stage took."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Cut off half a line, which a full disk can leave."""
        if self.path.exists() and not (content := self.path.read_bytes()).endswith(b"\n"):
            write_atomically(self.path, content[: content.rfind(b"\n") + 1])

    def enter(self, stage: str) -> None:
        """Begin a stage; the one before it ends."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = round(self.seconds.get(self._stage, 0.0) + now - self._since, 3)
            self.write({"stage": self._stage, "seconds": self.seconds[self._stage]})
        self._stage, self._since = stage, now

    def write(self, entry: dict[str, object]) -> None:
        """Append a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def step(self, step: Step) -> None:
        """Append what a step says, where it says more than that time has passed."""
        if step.note or step.stage not in ("coarse", "optimise") or step.index % 10 == 0:
            # JSON has no NaN; a step that was rolled back says what happened in its note.
            loss = step.loss if math.isfinite(step.loss) else None
            entry = {"stage": step.stage, "step": step.index, "loss": loss, **step.metrics}
            self.write({**entry, "note": step.note} if step.note else entry)


def generate(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    prior: AbstractPrior | None = None,
    wait: float = 0.0,
) -> Iterator[Step]:
    """Make the asset that the recipe describes, in the folder `out`, step by step.

    Yields the optimisation's steps (those of a coarse stage, or of a source's conversion, first), then the export's
    (`Step.stage`). `resume` goes on from the folder's checkpoint; a finished run is only exported again. A prior that
    is loaded already can be passed in. One process at a time works in a folder; another is given `wait` seconds to go
    away. Raises ValueError for an empty prompt, an edit of no run, a source that cannot be read (DamagedFile), a stage
    that leads nowhere, SourceChanged, FolderInUse where `out` holds another run, FolderBusy, EmptySurface, Diverged,
    DamagedCheckpoint, OSError.
    """
    if not recipe.prompt.text.strip():
        raise ValueError("the prompt is empty; say what to make, for example: dreamkit generate 'a red mug'")
    replaced = recipe.coarse is not None and recipe.source is not None
    recipe = settled(recipe)
    # Before the folder and the prior: a file may be damaged, and a prior takes time to load.
    source = _open_source(recipe, out, resume)
    with exclusive(out, wait):
        claim(recipe, out, resume)
        if replaced:
            yield Step(0, 1, 0.0, note="the source takes the place of the recipe's coarse stage", stage="convert")
        yield from _generate(recipe, out, device, resume, prior, source)


def _generate(
    recipe: Recipe, out: Path, device: str, resume: bool, prior: AbstractPrior | None, source: Scene | None
) -> Iterator[Step]:
    log = RunLog(out / "log.jsonl")
    log.enter("load the prior")
    loaded: AbstractPrior = recipe.prior.build(device=device) if prior is None else prior
    log.enter("embed the prompt")
    distiller = make_distiller(recipe, loaded)
    scene = yield from _begin(recipe, loaded, out, resume, log, source)
    log.enter("optimise")
    steps = train(scene.to(device), distiller, recipe.training, seed=recipe.seed, path=out / CHECKPOINT, resume=resume)
    for step in steps:
        log.step(step)
        yield step
    log.enter("export")
    report = yield from logged(export_asset(scene, out, recipe.export), log)
    log.enter("done")
    _write_metrics(recipe, out, report, log)
    forget_coarse(out)


def _begin(
    recipe: Recipe, prior: AbstractPrior, out: Path, resume: bool, log: RunLog, source: Scene | None
) -> Generator[Step, None, Scene]:
    """The scene that the optimisation starts with, after a coarse stage where the recipe has one."""
    if recipe.coarse is None and recipe.source is None:
        return starting_scene(recipe)
    if _goes_on(out, resume):
        # The checkpoint holds the whole scene; what came before it is not needed any more.
        return recipe.scene()
    if source is not None:
        log.enter("source")
        return (yield from logged(start_from_source(recipe, source), log))
    assert recipe.coarse is not None
    log.enter("coarse")
    return (yield from logged(run_coarse(recipe, make_distiller(recipe.coarse, prior), out, resume), log))


def _goes_on(out: Path, resume: bool) -> bool:
    """Whether the run goes on from a checkpoint of its own stage."""
    return resume and any(path.exists() for path in (out / CHECKPOINT, previous(out / CHECKPOINT)))


def _open_source(recipe: Recipe, out: Path, resume: bool) -> Scene | None:
    if recipe.source is None or _goes_on(out, resume):
        return None
    return open_scene(Path(recipe.source.path), float(recipe.shape.arguments.get("radius", 1.0)))


def check_export_settings(settings: Sequence[str]) -> None:
    """Raise RecipeError for a setting of anything but the export: the scene of a finished run is what it is."""
    strange = [setting for setting in settings if not setting.strip().startswith("export.")]
    if strange:
        raise RecipeError(f"only export settings can change here, such as export.faces=5000; got {strange[0]!r}")


def export_run(folder: Path, settings: tuple[str, ...] = ()) -> Iterator[Step]:
    """Write the asset of a run again, from its checkpoint, with other export settings.

    Raises RecipeError for settings of anything else, and what `generate` raises.
    """
    check_export_settings(settings)
    recipe = load_recipe(str(folder / "recipe.toml"), settings)
    check_export(recipe.export)
    with exclusive(folder):
        sweep(folder)
        log = RunLog(folder / "log.jsonl")
        log.enter("export")
        report = yield from logged(export_asset(load_scene(recipe, folder), folder, recipe.export), log)
        log.enter("done")
        _write_metrics(recipe, folder, report, log)


def starting_scene(recipe: Recipe) -> Scene:
    """The scene before the first step: a fresh one, or that of the run which the recipe edits.

    Raises ValueError for a recipe with a coarse stage or a source, whose scene has to be made (`generate` does).
    """
    if recipe.coarse is not None:
        raise ValueError("this recipe begins with a coarse stage, which takes steps: run it with `generate`")
    if recipe.source is not None:
        raise ValueError("this recipe begins with a conversion of its source: run it with `generate`")
    return recipe.scene() if recipe.edit is None else load_scene(recipe, Path(recipe.edit.run)).train()


def make_distiller(recipe: Recipe, prior: AbstractPrior) -> Distiller:
    """Embed the recipe's prompts and put together what pulls at the scene."""
    guide = _text_guide(recipe, prior, recipe.prompt.text)
    original = None
    if recipe.edit is not None:
        scene = load_scene(recipe, Path(recipe.edit.run)).to(prior.device)
        original = Original(scene, _text_guide(recipe, prior, recipe.edit.prompt), recipe.edit.masked)
    return Distiller(prior, guide, recipe.guidance, recipe.levels, recipe.cameras, recipe.noise, original)


def _text_guide(recipe: Recipe, prior: AbstractPrior, text: str) -> TextGuide:
    plan = recipe.prompt
    table = embed_prompts(prior, [plan.worded(text)])
    return TextGuide(table, plan.scale, recipe.shaping, plan.regions)


def settled(recipe: Recipe) -> Recipe:
    """The recipe as it can be run: an edit takes over the kind of scene that it edits, a source has been found."""
    recipe = with_source(recipe)
    check_coarse(recipe)
    check_export(recipe.export)
    if recipe.edit is None:
        return recipe
    if not recipe.edit.run:
        raise ValueError("this recipe edits a finished run; say which: --set edit.run=outputs/FOLDER")
    return recipe.adopting(load_recipe(str(Path(recipe.edit.run) / "recipe.toml")))


def claim(recipe: Recipe, out: Path, resume: bool) -> None:
    """Write the recipe into the folder, before any time is spent; raises FolderInUse."""
    stored = out / "recipe.toml"
    text = recipe.text()
    if stored.exists() and not resume:
        raise FolderInUse(
            f"{out} holds a run already (recipe.toml). Go on with it: --resume; or choose another folder: --out DIR"
        )
    if stored.exists() and stored.read_text(encoding="utf-8") != text:
        check_unchanged(recipe, stored)
        raise FolderInUse(
            f"{stored} differs from what was asked for, and a run is resumed only with its own recipe: "
            f"dreamkit generate --recipe {stored} --out {out} --resume"
        )
    sweep(out)
    write_atomically(stored, text.encode())


def logged(steps: Iterator[Step], log: RunLog) -> Generator[Step, None, Any]:
    """The steps, each written to the log; returns what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        log.step(step)
        yield step


def _write_metrics(recipe: Recipe, out: Path, report: ExportReport, log: RunLog) -> None:
    fidelity = report.fidelity
    metrics = {
        "prompt": recipe.prompt.text,
        "seed": recipe.seed,
        "steps": recipe.training.steps,
        "faces": len(report.mesh.faces),
        "level": report.level,
        "mesh_psnr_median": fidelity.median_psnr,
        "mesh_psnr": list(fidelity.psnr),
        "mesh_silhouette_median": fidelity.median_silhouette,
        "seconds": log.seconds,
        "peak_memory_mb": _peak_memory(),
        "torch": torch.__version__,
    }
    write_metrics(out, metrics)


def write_metrics(folder: Path, metrics: dict[str, object]) -> None:
    """Add to `metrics.json`; other entries stay."""
    path = folder / "metrics.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_atomically(path, (json.dumps(old | metrics, indent=2, ensure_ascii=False) + "\n").encode())


def _peak_memory() -> float:
    """Largest resident size of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
