"""Commands that train the models in the box: the small prior and its judge."""

from pathlib import Path
from typing import Annotated

import typer

from dreamkit.cli.application import app, console, done, explained, show


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

    with explained():
        plan = planned(pictures, autoencoder_steps, denoiser_steps)
        show(run(work, out, plan, choose_device(device), begin), work)
        done(out)
        console.print(f"use it with --prior {out}", markup=False)


@app.command()
def train_judge(
    out: Annotated[Path, typer.Option(help="File for the judge's weights.")] = Path("outputs/judge.safetensors"),
    work: Annotated[Path, typer.Option(help="Folder for pictures and checkpoints.")] = Path("outputs/toybox-training"),
) -> None:
    """Train the judge that `dreamkit evaluate` asks."""
    from dreamkit.evaluate.train_judge import train_judge as run

    with explained():
        show(run(work, out), work)
        done(out)
