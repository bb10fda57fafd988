"""Commands that look at finished assets: evaluate, report, views."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dreamkit.cli.application import app, console, explained, show


@app.command()
def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished toy-world runs.")],
) -> None:
    """Judge finished assets: recognition, Janus rate, saturation, distance to the truth."""
    from dreamkit.report import assess_runs

    with explained():
        Console().print(assess_runs(folders))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("outputs/report.html"),
) -> None:
    """Compare finished runs on one HTML page: numbers, plots and pictures, without any model."""
    from dreamkit.evaluate.appearance import appearance
    from dreamkit.evaluate.comparison import write_comparison

    with explained():
        write_comparison([appearance(folder) for folder in folders], out)
        console.print(f"[green]done[/]: {out}")


@app.command()
def views(
    mesh: Annotated[Path, typer.Argument(help="A GLB, OBJ, PLY, STL or OFF file.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("outputs/views"),
    size: Annotated[int, typer.Option(min=8, help="Their height and width.")] = 512,
) -> None:
    """Render T3Bench's 162 x 5 views of a mesh, for scorers of your own."""
    from dreamkit.evaluate.t3bench import write_views
    from dreamkit.export.load import load_mesh

    with explained():
        show(write_views(load_mesh(mesh), out, size), out)
        console.print(f"[green]done[/]: {out}")
