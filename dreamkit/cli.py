"""The command line: reads options, shows `Step`s, turns errors into one paragraph. No logic of its own."""

import re
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

# Everything heavy is imported inside the commands: `dreamkit --help` answers at once.


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to make; a recipe may hold it instead.")] = None,
    recipe: Annotated[str, typer.Option(help="A recipe's name (see `dreamkit recipes`) or a TOML file.")] = "toybox",
    prior: Annotated[str | None, typer.Option(help="Model alias, hub id or local folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; by default outputs/PROMPT-SEED.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random number; 0 by default.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimisation steps.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    setting: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. prompt.scale=20.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
) -> None:
    """Make a 3D asset from a prompt."""
    from dreamkit.generate import generate as run
    from dreamkit.recipe import load_recipe

    settings = list(setting or [])
    settings += [f"training.steps={steps}"] if steps is not None else []
    with _explained():
        if prompt is not None and not prompt.strip():
            raise ValueError("the prompt is empty; say what to make, for example: dreamkit generate 'a red mug'")
        loaded = load_recipe(recipe, [*settings, *_prior_settings(prior)])
        text = loaded.prompt.text if prompt is None else prompt
        loaded = loaded.asking(text, loaded.seed if seed is None else seed)
        folder = out or _fresh_folder(text, loaded.seed, resume)
        _show(run(loaded, folder, device=_device(device), resume=resume), folder)
        _console.print(f"[green]done[/]: {folder}/asset.glb")


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
    to: Annotated[str, typer.Option(help="Kind of shape: voxel, mlp, vm, cp, triplane, sdf, hash ...")],
    out: Annotated[Path | None, typer.Option(help="Output folder; by default FOLDER-KIND.")] = None,
    by: Annotated[str, typer.Option(help="Converter to take wherever it can be taken.")] = "pvd",
    seed: Annotated[int, typer.Option(help="Seed of every random number.")] = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, e.g. shape.resolutions=[64] or converter.steps=2000.")
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
    from dreamkit.toybox.train import planned
    from dreamkit.toybox.train import train_prior as run

    with _explained():
        plan = planned(pictures, autoencoder_steps, denoiser_steps)
        _show(run(work, out, plan, _device(device), begin), work)
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

    try:
        show(steps, _console)
    except KeyboardInterrupt:
        _console.print(f"\nstopped. What was done is kept in {folder}; the same command with --resume goes on.")
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


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"cannot use the device {name!r}: {str(error).splitlines()[0]}. Try --device cpu") from error
    return name


def _fresh_folder(prompt: str, seed: int, resume: bool) -> Path:
    """`outputs/a-red-mug-0`; with a number behind it where that is taken, unless it is to be resumed."""
    slug = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "asset"
    base = Path("outputs") / f"{slug}-{seed}"
    if resume or not base.exists():
        return base
    return next(path for n in range(2, sys.maxsize) if not (path := base.with_name(f"{base.name}-{n}")).exists())


def _prior_settings(prior: str | None) -> list[str]:
    """What `--prior` changes in a recipe: the model, and the type of prior where the usual one cannot read it."""
    from dreamkit.priors.locate import prior_type

    if prior is None:
        return []
    kind = prior_type(prior)
    settings = [f"prior.model={_quoted(prior)}"]
    return [*settings, f"prior.type={kind}"] if kind in ("flow", "pixel") else settings


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "") + "'"
