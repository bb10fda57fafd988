"""Commands that look at finished assets: evaluate, report, views."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dreamkit.cli.application import Device, app, done, explained, show


@app.command()
def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    clip: Annotated[Path | None, typer.Option(help="Local folder of a CLIP model: its score and R-precision.")] = None,
    reward: Annotated[Path | None, typer.Option(help="Local folder: PickScore, or BLIP and a reward head.")] = None,
    among: Annotated[Path | None, typer.Option(help="Prompt file for R-precision; else the runs' prompts.")] = None,
    device: Device = "auto",
) -> None:
    """Judge finished assets: recognition, Janus rate, saturation, distance to the truth.

    That judge knows the toy world only. With --clip or --reward, models of your own score any asset instead.
    """
    from dreamkit.device import choose_device
    from dreamkit.report import assess_runs, score_runs

    with explained():
        if clip is None and reward is None:
            if among is not None:
                raise ValueError("--among is for R-precision; give a CLIP model as well: --clip FOLDER")
            Console().print(assess_runs(folders))
        else:
            Console().print(score_runs(folders, clip, reward, among, choose_device(device)))


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
        done(out)


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
        done(out)
