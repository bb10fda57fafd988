"""Finished runs side by side: made where they are missing, judged, as a picture and as a table."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def make(folder: Path, prompt: str, options: Sequence[str]) -> None:
    """`dreamkit generate` into the folder; a finished run is kept, and one that was stopped goes on."""
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "dreamkit", "generate", prompt, "--out", str(folder), "--resume", *options]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{folder.name} failed:\n{done.stderr}")
    print(folder.name, flush=True)


def judge(folders: Sequence[Path]) -> None:
    """`dreamkit evaluate`: what the judge says goes to each folder's metrics.json."""
    if folders:
        subprocess.run([sys.executable, "-m", "dreamkit", "evaluate", *map(str, folders)], check=True)


def contact_sheet(runs: Mapping[str, Path], path: Path) -> None:
    """Four views of each asset under its title, two assets a row."""
    tiles = []
    for title, folder in runs.items():
        view = Image.open(folder / "preview.png").convert("RGB").resize((512, 128), Image.LANCZOS)
        tile = Image.new("RGB", (520, 146), "white")
        tile.paste(view, (4, 16))
        ImageDraw.Draw(tile).text((8, 2), title, fill="black")
        tiles.append(np.asarray(tile))
    if len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.concatenate(tiles[i : i + 2], axis=1) for i in range(0, len(tiles), 2)]
    Image.fromarray(np.concatenate(rows)).save(path, optimize=True)


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def row(title: str, run: Mapping, keys: Sequence[str]) -> str:
    """One line of a table: the run's numbers, and the seconds that all of it took."""
    return f"| {title} | " + " | ".join(cell(run.get(key)) for key in keys) + f" | {sum(run['seconds'].values()):.0f} |"


def head(first: str, columns: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(columns)} | seconds |", "|---" * (len(columns) + 2) + "|"]


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
