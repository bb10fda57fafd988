"""Runs on the disk: what a folder of outputs holds, for the gallery."""

import json
import re
import tomllib
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamkit.export.atomic import atomic_path
from dreamkit.service.conversion_order import read_order

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,120}")


class UnknownRun(ValueError):
    """No run has this name."""


@dataclass(frozen=True)
class PastRun:
    """A run that has left a folder."""

    name: str
    folder: Path
    prompt: str
    seed: int
    method: str
    "The guidance's `type`."
    steps: int
    is_done: bool
    "Whether it was exported; one that was stopped can go on."
    kind: str = ""
    "What it was converted to; empty for a run that was optimised."
    is_interrupted: bool = False
    "Whether it is a conversion that did not come to its end; `prompt` is its title."

    @property
    def title(self) -> str:
        """What it is called: its prompt, and what became of that."""
        return converted_title(self.prompt, self.kind) if self.kind else self.prompt

    @property
    def preview(self) -> Path:
        """Four sides of the asset, side by side."""
        return self.folder / "preview.png"


def confined(folder: Path, name: str) -> Path:
    """The folder of the run `name` inside `folder`; raises UnknownRun for anything that would lead elsewhere."""
    path = folder / name
    if not _NAME.fullmatch(name) or not path.is_dir() or path.resolve() != folder.resolve() / name:
        raise UnknownRun(f"there is no run {name[:80]!r} here; the gallery lists those that are")
    return path


def read_past(folder: Path) -> PastRun:
    """What a run's folder says about it; raises ValueError and OSError where it holds no run that can be read."""
    done = (folder / "metrics.json").is_file() and (folder / "asset.glb").is_file()
    order = None if done else read_order(folder)
    if order is not None:
        return PastRun(folder.name, folder, order.title, 0, order.to, 0, is_done=False, is_interrupted=True)
    table = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    try:
        prompt, method, steps = table["prompt"]["text"], table["guidance"]["type"], table["training"]["steps"]
        kind = str(table["shape"]["type"]) if done and "converted_from" in metrics(folder) else ""
        return PastRun(folder.name, folder, str(prompt), int(table["seed"]), str(method), int(steps), done, kind)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}/recipe.toml is not a whole recipe: {error}") from error


def metrics(folder: Path) -> dict[str, Any]:
    """The numbers of a finished run; none where they cannot be read."""
    try:
        told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def converted_title(prompt: str, kind: str) -> str:
    """`a red mug as voxel field`."""
    return f"{prompt} as {kind.replace('_', ' ')}"


def list_past(folder: Path) -> list[PastRun]:
    """The finished runs in a folder, newest first; what is no finished run is none of the gallery's business."""
    found: list[tuple[float, PastRun]] = []
    for path in folder.iterdir():
        try:
            run = read_past(confined(folder, path.name))
            if run.is_done:
                found.append(((path / "metrics.json").stat().st_mtime, run))
        except (ValueError, OSError):
            continue
    return [run for _, run in sorted(found, key=lambda entry: entry[0], reverse=True)]


def finished_files(folder: Path) -> dict[str, Path]:
    """What can be taken away: nothing of a run that was not exported yet."""
    try:
        return downloads(folder) if read_past(folder).is_done else {}
    except (ValueError, OSError):
        return {}


def downloads(folder: Path) -> dict[str, Path]:
    """The files of a finished run that a visitor can take away; OBJ, material and texture go together in a zip.

    Only clouds of Gaussians have a PLY, and a GLB of splats; only runs that were asked for one have a USDZ.
    """
    names = {"glb": "asset.glb", "usdz": "asset.usdz", "ply": "asset.ply", "splats": "asset-splats.glb",
             "video": "turntable.mp4", "recipe": "recipe.toml"}  # fmt: skip
    files = {kind: folder / name for kind, name in names.items()}
    parts = [folder / f"asset.{ending}" for ending in ("obj", "mtl", "png")]
    if all(part.is_file() for part in parts):
        files["obj"] = folder / "asset-obj.zip"
        # A full disk costs the zip, not the other files.
        with suppress(OSError):
            _pack(parts, files["obj"])
    return {name: path for name, path in files.items() if path.is_file()}


def _pack(parts: list[Path], target: Path) -> None:
    if target.is_file() and target.stat().st_mtime >= max(part.stat().st_mtime for part in parts):
        return
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            archive.write(part, part.name)
