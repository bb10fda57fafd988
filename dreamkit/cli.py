"""The command line: reads options, shows `Step`s, turns errors into one paragraph. No logic of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Text to 3D by score distillation.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_console = Console(stderr=True, highlight=False)

RecipeName = Annotated[str, typer.Option(help="A recipe's name (see `dreamkit recipes`) or a TOML file.")]
PriorName = Annotated[str | None, typer.Option(help="Model alias, hub id or local folder.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random number; without it, the recipe's (0).")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimisation steps.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. prompt.scale=20.")]

# Everything heavy is imported inside the commands: `dreamkit --help` answers at once.


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make; a recipe may hold it instead.")] = None,
    recipe: RecipeName = "toybox",
    prior: PriorName = None,
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
    from dreamkit.recipe_file import prior_settings

    with _explained():
        if prompt is not None and not prompt.strip():
            raise ValueError("the prompt is empty; say what to make, for example: dreamkit generate 'a red mug'")
        loaded = load_recipe(recipe, [*_settings(setting, steps), *prior_settings(prior)])
        text = loaded.prompt.text if prompt is None else prompt
        loaded = loaded.asking(text, loaded.seed if seed is None else seed)
        folder = out or _fresh_folder(text, loaded.seed, resume)
        _show(run(loaded, folder, device=choose_device(device), resume=resume), folder)
        _console.print(f"[green]done[/]: {folder}/asset.glb")


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
    from dreamkit.report import batch_table

    folder = out or Path("outputs") / file.stem
    with _explained(), _stoppable(folder, "the same command"):
        defaults = Defaults(recipe, prior, tuple(_settings(setting, steps)), seed, seed_per_prompt)
        pool = choose_pool(folder, device if ray else choose_device(device), workers, threads, ray, pack, patience)
        report = show_batch(run_batch(file, folder, pool, defaults), _console)
    Console().print(batch_table(report))
    _console.print(f"{folder}/index.html shows them all")
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. export.faces=5000.")] = None,
) -> None:
    """Write a run's files again from its checkpoint, with other export settings."""
    from dreamkit.generate import export_run

    with _explained():
        _show(export_run(folder, tuple(setting or ())), folder)
        _console.print(f"[green]done[/]: {folder}/asset.glb")


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[
        str, typer.Option(help="Kind of shape: hash, mlp, voxel, vm, cp, triplane, sdf, gaussians, tet_mesh ...")
    ],
    out: Annotated[Path | None, typer.Option(help="Output folder; by default FOLDER-KIND.")] = None,
    by: Annotated[str | None, typer.Option(help="Converter to take wherever it can be taken, e.g. pvd_al.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, e.g. shape.count=5000, or with --by converter.steps=2000."),
    ] = None,
) -> None:
    """Carry a run's scene to another kind of shape, with a report of what was lost."""
    from dreamkit.conversion import convert_run

    target = out or folder.with_name(f"{folder.name}-{to}")
    with _explained():
        _show(convert_run(folder, to, target, by, tuple(setting or ()), seed), target)
        _console.print(f"[green]done[/]: {target}/asset.glb")


@app.command()
def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished toy-world runs.")],
) -> None:
    """Judge finished assets: recognition, Janus rate, saturation, distance to the truth."""
    from dreamkit.report import assess_runs

    with _explained():
        Console().print(assess_runs(folders))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("outputs/report.html"),
) -> None:
    """Compare finished runs on one HTML page: numbers, plots and pictures, without any model."""
    from dreamkit.evaluate.appearance import appearance
    from dreamkit.evaluate.comparison import write_comparison

    with _explained():
        write_comparison([appearance(folder) for folder in folders], out)
        _console.print(f"[green]done[/]: {out}")


@app.command()
def views(
    mesh: Annotated[Path, typer.Argument(help="A GLB, OBJ, PLY, STL or OFF file.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("outputs/views"),
    size: Annotated[int, typer.Option(min=8, help="Their height and width.")] = 512,
) -> None:
    """Render T3Bench's 162 x 5 views of a mesh, for scorers of your own."""
    from dreamkit.evaluate.t3bench import write_views
    from dreamkit.export.load import load_mesh

    with _explained():
        _show(write_views(load_mesh(mesh), out, size), out)
        _console.print(f"[green]done[/]: {out}")


@app.command()
def train_prior(
    out: Annotated[Path, typer.Option(help="Folder for the finished prior.")] = Path("outputs/toybox-prior"),
    work: Annotated[Path, typer.Option(help="Folder for pictures and checkpoints; an old one is resumed.")] = Path(
        "outputs/toybox-training"
    ),
    pictures: Annotated[int | None, typer.Option(min=100, help="Pictures to render.")] = None,
    autoencoder_steps: Annotated[int | None, typer.Option(min=1)] = None,
    denoiser_steps: Annotated[int | None, typer.Option(min=1)] = None,
    begin: Annotated[Path | None, typer.Option(help="A prior whose weights to start from.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Train the small diffusion prior; stop it at will, the same command goes on."""
    from dreamkit.device import choose_device
    from dreamkit.toybox.train import planned
    from dreamkit.toybox.train import train_prior as run

    with _explained():
        plan = planned(pictures, autoencoder_steps, denoiser_steps)
        _show(run(work, out, plan, choose_device(device), begin), work)
        _console.print(f"[green]done[/]: use it with --prior {out}")


@app.command()
def train_judge(
    out: Annotated[Path, typer.Option(help="File for the judge's weights.")] = Path("outputs/judge.safetensors"),
    work: Annotated[Path, typer.Option(help="Folder for pictures and checkpoints.")] = Path("outputs/toybox-training"),
) -> None:
    """Train the judge that `dreamkit evaluate` asks."""
    from dreamkit.evaluate.train_judge import train_judge as run

    with _explained():
        _show(run(work, out), work)
        _console.print(f"[green]done[/]: {out}")


@app.command()
def recipes() -> None:
    """List the recipes in the box."""
    from dreamkit.report import recipe_table

    Console().print(recipe_table())


@app.command()
def doctor() -> None:
    """Say what is installed, and which backend each op uses and why."""
    from dreamkit.report import doctor_tables

    for table in doctor_tables():
        Console().print(table)


@app.command()
def cite(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")] = "toybox",
) -> None:
    """Print BibTeX for the methods that a recipe uses."""
    from dreamkit.recipe import load_recipe
    from dreamkit.report import bibtex

    with _explained():
        print(bibtex(load_recipe(recipe)))


def main() -> None:
    """Entry point of the `dreamkit` command."""
    app()


def _show(steps: Iterator, folder: Path) -> None:  # Iterator[Step], which would import torch
    from dreamkit.progress import show

    with _stoppable(folder, "the same command with --resume"):
        show(steps, _console)


@contextmanager
def _stoppable(folder: Path, again: str) -> Iterator[None]:
    """Ctrl-C is an answer, not an accident: say what is kept, exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        _console.print(f"\nstopped. What was done is kept in {folder}; {again} goes on.", markup=False)
        raise typer.Exit(130) from None


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors that a person can do something about into one paragraph and exit code 2."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            _fail(str(error))
        place = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror}{place}. What was saved before is safe: mend this, and the same command with --resume "
              "goes on.")  # fmt: skip
    except (ValueError, ArithmeticError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _console.print(f"error: {message}", markup=False, soft_wrap=True, style="red")
    raise typer.Exit(2)


def _settings(given: list[str] | None, steps: int | None) -> list[str]:
    return [*(given or []), *([f"training.steps={steps}"] if steps is not None else [])]


def _fresh_folder(prompt: str, seed: int, resume: bool) -> Path:
    """`outputs/a-red-mug-0`; with a number behind it where that is taken, unless it is to be resumed."""
    from dreamkit.names import folder_name

    base = Path("outputs") / folder_name(prompt, seed)
    if resume or not base.exists():
        return base
    return next(path for n in range(2, sys.maxsize) if not (path := base.with_name(f"{base.name}-{n}")).exists())
