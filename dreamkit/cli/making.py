"""Commands that make assets: generate, batch, export, convert."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dreamkit.cli.application import (
    Device,
    PriorName,
    RecipeName,
    Seed,
    Settings,
    Source,
    Steps,
    app,
    console,
    done,
    explained,
    show,
    stoppable,
)  # fmt: skip


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make; a recipe may hold it instead.")] = None,
    recipe: RecipeName = "toybox",
    prior: PriorName = None,
    source: Source = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; by default outputs/PROMPT-SEED.")] = None,
    seed: Seed = None,
    steps: Steps = None,
    device: Device = "auto",
    setting: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
) -> None:
    """Make a 3D asset from a prompt."""
    from dreamkit.device import choose_device
    from dreamkit.generate import generate as run
    from dreamkit.recipe import load_recipe
    from dreamkit.recipe_file import prior_settings, source_settings

    with explained("the same command with --resume and --out FOLDER"):
        if prompt is not None and not prompt.strip():
            raise ValueError("the prompt is empty; say what to make, for example: dreamkit generate 'a red mug'")
        given = [*_settings(setting, steps), *prior_settings(prior), *source_settings(source and str(source))]
        loaded = load_recipe(recipe, given)
        text = loaded.prompt.text if prompt is None else prompt
        loaded = loaded.asking(text, loaded.seed if seed is None else seed)
        folder = out or _fresh_folder(text, loaded.seed, resume)
        steps_of_run = run(loaded, folder, device=choose_device(device), resume=resume)
        show(steps_of_run, folder, f"the same command with --out {folder} --resume")
        done(folder / "asset.glb")


@app.command()
def batch(
    file: Annotated[Path, typer.Argument(help="Prompts, one a line; or a .csv or .jsonl table.")],
    out: Annotated[Path | None, typer.Option(help="Output folder; by default outputs/FILE.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default the cores, or 1 on a GPU.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each; results depend on it.")] = 1,
    pack: Annotated[int, typer.Option(min=1, help="Assets that each makes at a time, sharing the prior's calls.")] = 1,
    patience: Annotated[float | None, typer.Option(help="Seconds until a silent worker is replaced; 3600.")] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster that shares the output folder.")] = None,
    seed_per_prompt: Annotated[bool, typer.Option(help="Another seed for each prompt, drawn from its text.")] = False,
    recipe: RecipeName = "toybox",
    prior: PriorName = None,
    source: Source = None,
    seed: Seed = None,
    steps: Steps = None,
    device: Device = "auto",
    setting: Settings = None,
) -> None:
    """Make an asset for every prompt of a file; the same command again goes on where it stopped."""
    from dreamkit.batch.choose import choose_pool
    from dreamkit.batch.run import run_batch
    from dreamkit.batch.task import Defaults
    from dreamkit.device import choose_device
    from dreamkit.progress import show_batch
    from dreamkit.recipe_file import source_settings
    from dreamkit.report import batch_table

    folder = out or Path("outputs") / file.stem
    with explained(), stoppable(folder, "the same command"):
        settings = (*_settings(setting, steps), *source_settings(source and str(source)))
        defaults = Defaults(recipe, prior, settings, seed, seed_per_prompt)
        pool = choose_pool(folder, device if ray else choose_device(device), workers, threads, ray, pack, patience)
        report = show_batch(run_batch(file, folder, pool, defaults), console)
    Console().print(batch_table(report))
    console.print(f"{folder}/index.html shows them all", markup=False)
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. export.faces=5000.")] = None,
) -> None:
    """Write a run's files again from its checkpoint, with other export settings."""
    from dreamkit.generate import export_run

    with explained():
        show(export_run(folder, tuple(setting or ())), folder)
        done(folder / "asset.glb")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The folder of a run, or a GLB, glTF, OBJ, PLY, STL or OFF file.")],
    to: Annotated[
        str, typer.Option(help="Kind: hash, mlp, voxel, vm, cp, triplane, sdf, gaussians, tet_mesh, textured_mesh ...")
    ],
    out: Annotated[Path | None, typer.Option(help="Output folder; by default SOURCE-KIND.")] = None,
    by: Annotated[str | None, typer.Option(help="Converter to take wherever it can be taken, e.g. pvd_al.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, e.g. shape.count=5000, or with --by converter.steps=2000."),
    ] = None,
) -> None:
    """Carry a scene, or a mesh or splats from a file, to another kind of shape, with a report of what was lost."""
    from dreamkit.construct import type_name
    from dreamkit.conversion import convert_run
    from dreamkit.convert.plan import kind

    with explained():
        place = source.resolve()
        name = place.stem if place.is_file() else place.name
        target = out or place.with_name(f"{name}-{type_name(kind(to)).replace('_', '-')}")
        steps = convert_run(source, to, target, by, tuple(setting or ()), seed)
        show(steps, target, "the same command, or `dreamkit export` once there is a recipe.toml,")
        done(target / "asset.glb")


def _settings(given: list[str] | None, steps: int | None) -> list[str]:
    return [*(given or []), *([f"training.steps={steps}"] if steps is not None else [])]


def _fresh_folder(prompt: str, seed: int, resume: bool) -> Path:
    """`outputs/a-red-mug-0`; with a number behind it where that is taken, unless it is to be resumed."""
    from dreamkit.names import folder_name

    base = Path("outputs") / folder_name(prompt, seed)
    if resume or not base.exists():
        return base
    return next(path for n in range(2, sys.maxsize) if not (path := base.with_name(f"{base.name}-{n}")).exists())
