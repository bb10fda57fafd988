"""What every command shares: the application, its options, and how steps and errors are shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Text to 3D by score distillation.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(stderr=True, highlight=False)

RecipeName = Annotated[str, typer.Option(help="A recipe's name (see `dreamkit recipes`) or a TOML file.")]
PriorName = Annotated[str | None, typer.Option(help="Model alias, hub id or local folder.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random number; without it, the recipe's (0).")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimisation steps.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
Source = Annotated[Path | None, typer.Option(help="Start from a run's folder, or a GLB, OBJ, PLY, STL or OFF file.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. prompt.scale=20.")]

# Everything heavy is imported inside the commands: `dreamkit --help` answers at once.


def show(steps: Iterator, folder: Path, again: str = "the same command") -> None:
    """Steps are Step, which would import torch."""
    from dreamkit.progress import show

    with stoppable(folder, again):
        show(steps, console)


@contextmanager
def stoppable(folder: Path, again: str) -> Iterator[None]:
    """Ctrl-C is an answer, not an accident: say what is kept, exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"\nstopped. What was done is kept in {folder}; {again} goes on.", markup=False)
        raise typer.Exit(130) from None


@contextmanager
def explained(again: str = "the same command") -> Iterator[None]:
    """Turn errors that a person can do something about into one paragraph and exit code 2."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            fail(str(error))
        place = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror}{place}. What was saved before is safe: mend this, and {again} goes on.")
    except (ValueError, ArithmeticError) as error:
        fail(str(error))


def done(path: Path) -> None:
    """Say where the result is; folders may have brackets in their names, which are no markup."""
    console.print(f"[green]done[/]: {escape(str(path))}")


def fail(message: str) -> NoReturn:
    console.print(f"error: {message}", markup=False, soft_wrap=True, style="red")
    raise typer.Exit(2)
