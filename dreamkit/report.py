"""Tables that the command line prints: recipes, the doctor's findings, the judge's numbers, citations."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dreamkit.batch.prompt_file import read_prompts
from dreamkit.batch.run import Report, summary
from dreamkit.evaluate.asset import Assessment, assess
from dreamkit.evaluate.clip import Clip
from dreamkit.evaluate.judge import load_judge
from dreamkit.evaluate.reward import load_reward
from dreamkit.evaluate.scores import Scores, asset_views, score_asset
from dreamkit.generate import write_metrics
from dreamkit.guidance.wrapper import nested
from dreamkit.ops import _library
from dreamkit.priors.shaping import AbstractShaping
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import names
from dreamkit.toybox.captions import parse

_PACKAGES = {
    "torch": "", "diffusers": "", "transformers": "", "safetensors": "", "trimesh": "", "pymeshlab": "", "xatlas": "",
    "gradio": "the page: pip install 'dreamkit[app]'",
    "gsplat": "faster splatting on CUDA: pip install 'dreamkit[cuda]'",
    "nerfacc": "faster marching on CUDA: pip install 'dreamkit[cuda]'",
    "ray": "batches on a cluster: pip install 'dreamkit[cluster]'",
    "usd-core": "export.usdz: pip install 'dreamkit[usd]'",
    "viser": "dreamkit view: pip install 'dreamkit[view]'",
}  # fmt: skip
_COLUMNS = ("kind", "color", "janus", "saturation", "true_saturation", "volume_iou", "chamfer")
_SCORES = ("clip_score", "r_precision", "reward", "best_reward")


def recipe_table() -> Table:
    """Name, method, prior and purpose of every recipe in the box."""
    table = Table("recipe", "guidance", "prior", "about")
    for name in names():
        recipe = load_recipe(name)
        model = recipe.prior.arguments.get("model", recipe.prior.name)
        table.add_row(name, type(recipe.guidance).__name__, str(model), recipe.about)
    return table


def doctor_tables() -> list[Table]:
    """What is installed, what computes each op, and what the machine has."""
    machine = Table("machine", "", title="machine")
    machine.add_row("python", platform.python_version())
    machine.add_row("system", platform.platform())
    machine.add_row("threads", str(torch.get_num_threads()))
    machine.add_row("cuda", torch.cuda.get_device_name() if torch.cuda.is_available() else "no device")
    packages = Table("package", "version", "what for", title="packages")
    for name, purpose in _PACKAGES.items():
        packages.add_row(name, _version(name), escape(purpose))  # [app] is no style
    ops = Table("op", "backend", "why", title="ops on " + ("cuda" if torch.cuda.is_available() else "cpu"))
    for backend in _library.backends("cuda" if torch.cuda.is_available() else "cpu"):
        ops.add_row(backend.op, backend.backend, backend.reason)
    return [machine, packages, ops]


def assess_runs(folders: Sequence[Path]) -> Table:
    """Judge every run, write its `metrics.json`, and list all with their mean.

    Raises FileNotFoundError for a folder without an asset, ValueError for a prompt from outside the toy world.
    """
    prompts = [load_recipe(str(folder / "recipe.toml")).prompt.text for folder in folders]
    judge = load_judge()
    table = Table("run", "prompt", *_COLUMNS, title="the judge, over eight views of asset.glb")
    found: list[Assessment] = []
    for folder, prompt in zip(folders, prompts, strict=True):
        found.append(assess(folder / "asset.glb", parse(prompt), judge))
        write_metrics(folder, {**found[-1].entries()})
        table.add_row(folder.name, prompt, *[_number(getattr(found[-1], name)) for name in _COLUMNS])
    _add_mean(table, found, _COLUMNS)
    return table


def score_runs(
    folders: Sequence[Path],
    clip: Path | None = None,
    reward: Path | None = None,
    among: Path | None = None,
    device: str = "cpu",
) -> Table:
    """Score every run by the models in local folders, write its `metrics.json`, and list all with their mean.

    R-precision is over the prompts of the file `among`, or else over those of all the runs. Raises FileNotFoundError
    for a folder without an asset, ValueError for folders without a model.
    """
    prompts = [load_recipe(str(folder / "recipe.toml")).prompt.text for folder in folders]
    others = prompts if among is None else [line.prompt for line in read_prompts(among) if not line.error]
    eye = None if clip is None else Clip(clip, device)
    taste = None if reward is None else load_reward(reward, device)
    table = Table("run", "prompt", *(name.replace("_", " ") for name in _SCORES), title="scores, over eight views")
    found: list[Scores] = []
    for folder, prompt in zip(folders, prompts, strict=True):
        found.append(score_asset(asset_views(folder / "asset.glb"), prompt, others, eye, taste))
        write_metrics(folder, {**found[-1].entries()})
        table.add_row(folder.name, Text(prompt), *[_number(getattr(found[-1], name)) for name in _SCORES])
    _add_mean(table, found, _SCORES)
    return table


def batch_table(report: Report) -> Table:
    """What became of each prompt of a batch."""
    table = Table("prompt", "state", "seconds", "folder, or what went wrong", title=str(report.out))
    for prompt, state, seconds, last in summary(report):
        # Texts, so that brackets in a prompt are no markup.
        table.add_row(Text(prompt), Text(state, style="red" if state == "failed" else ""), seconds, Text(last))
    table.add_section()
    done = len(report.results) - sum(result.status == "failed" for result in report.results.values())
    table.add_row("all", f"{done} done", "", f"{report.failed} failed, {report.earlier} done before")
    return table


def bibtex(recipe: Recipe) -> str:
    """Entries for the guidance, the representation and what shapes and words the prompt, by arXiv number."""
    papers = {type(guidance).__name__: type(guidance).paper for guidance in nested(recipe.guidance)}
    papers |= {cls.__name__: cls.paper for cls in (recipe.shape.cls, recipe.prior.cls) if hasattr(cls, "paper")}
    words = [*_chain(recipe.shaping), recipe.prompt.debiasing]
    papers |= {type(part).__name__: type(part).paper for part in words if hasattr(type(part), "paper")}
    known = json.loads((Path(__file__).parent / "papers.json").read_text(encoding="utf-8"))
    return "\n\n".join(_entry(number, known.get(number)) for number in dict.fromkeys(papers.values()))


def _add_mean(table: Table, found: Sequence[Any], columns: Sequence[str]) -> None:
    """A last row for several runs; runs to which a column does not apply are left out of its mean."""
    if len(found) < 2:
        return
    values = [[v for one in found if (v := getattr(one, name)) is not None] for name in columns]
    table.add_section()
    table.add_row("mean", f"{len(found)} runs", *[_number(mean(column) if column else None) for column in values])


def _chain(shaping: AbstractShaping) -> list[AbstractShaping]:
    """The shaping and those inside it."""
    inner = getattr(shaping, "inner", None)
    return [shaping] if inner is None else [shaping, *_chain(inner)]


def _entry(number: str, known: dict[str, str] | None) -> str:
    facts = known or {"title": f"arXiv {number}", "author": "", "year": f"20{number[:2]}"}
    lines = [f"  {key} = {{{value}}}," for key, value in facts.items() if value]
    return "\n".join([f"@article{{arxiv{number.replace('.', '_')},", *lines, f"  eprint = {{{number}}},",
                      "  archivePrefix = {arXiv},", "}"])  # fmt: skip


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
