"""Runs on the disk: what a folder of outputs holds, for the gallery."""

import re
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dreamkit.export.atomic import atomic_path

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
    table = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    done = (folder / "metrics.json").is_file() and (folder / "asset.glb").is_file()
    try:
        prompt, method, steps = table["prompt"]["text"], table["guidance"]["type"], table["training"]["steps"]
        return PastRun(folder.name, folder, str(prompt), int(table["seed"]), str(method), int(steps), done)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}/recipe.toml is not a whole recipe: {error}") from error


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


def downloads(folder: Path) -> dict[str, Path]:
    """The files of a finished run that a visitor can take away; OBJ, material and texture go together in a zip.

    Only clouds of Gaussians have a PLY.
    """
    names = {"glb": "asset.glb", "ply": "asset.ply", "video": "turntable.mp4", "recipe": "recipe.toml"}
    files = {kind: folder / name for kind, name in names.items()}
    parts = [folder / f"asset.{ending}" for ending in ("obj", "mtl", "png")]
    if all(part.is_file() for part in parts):
        files["obj"] = folder / "asset-obj.zip"
        _pack(parts, files["obj"])
    return {name: path for name, path in files.items() if path.is_file()}


def _pack(parts: list[Path], target: Path) -> None:
    if target.is_file() and target.stat().st_mtime >= max(part.stat().st_mtime for part in parts):
        return
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            archive.write(part, part.name)
