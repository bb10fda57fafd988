"""What a run has to show, while it trains and when it is done: a mesh, splats, and the scene itself."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dreamkit.export.load import load_mesh
from dreamkit.export.splat_file import SplatFile, to_splat_file
from dreamkit.export.splat_ply import read_splat_ply
from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.recipe import load_recipe
from dreamkit.renderers.scene import Scene
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.spherical_harmonics import DC
from dreamkit.training.checkpoint import load_latest, previous

OWN, COARSE = "checkpoint.safetensors", "coarse.safetensors"
FILES = ("asset.glb", "asset.ply", OWN, previous(Path(OWN)).name, COARSE, previous(Path(COARSE)).name, "recipe.toml")
"What is looked at for changes, in a run's folder."


@dataclass(frozen=True)
class Splats:
    """A cloud as viewers draw it. Scene units, glTF axes, display colours from straight ahead."""

    centers: np.ndarray
    covariances: np.ndarray
    colors: np.ndarray
    opacities: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)


@dataclass(frozen=True)
class Content:
    """What there is to see at one moment; None for what is not there."""

    title: str
    status: str
    "One line: how far a run is."
    mesh: bytes | None = None
    "A binary glTF."
    splats: Splats | None = None
    scene: Scene | None = None
    "To be rendered from any camera."
    progress: float = 1.0
    "Share of the run that is done, for the scene's schedules."


def check_viewable(path: Path) -> None:
    """Raise ValueError for what is neither a run's folder nor a GLB or PLY file, FileNotFoundError for nothing."""
    if not path.exists():
        raise FileNotFoundError(f"no such run or file: {path}")
    if path.is_dir() and not (path / "recipe.toml").is_file():
        raise ValueError(f"{path} is not the folder of a run (it has no recipe.toml); name one that `generate` made")
    if path.is_file() and path.suffix.lower() not in (".glb", ".ply"):
        raise ValueError(f"cannot show {path.name}: known are runs' folders, .glb meshes and .ply splats")


def stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when there is something new to see."""
    files = [path / name for name in FILES] if path.is_dir() else [path]
    found = [(file.name, status.st_mtime_ns, status.st_size) for file in files if (status := _status(file))]
    return tuple(found)


def read_content(path: Path) -> Content:
    """Read a run's folder, or a single file. Raises ValueError (damaged files, a recipe that is none) and OSError."""
    if path.is_dir():
        return _run(path)
    if path.suffix.lower() == ".glb":
        return Content(path.name, f"{len(load_mesh(path).faces)} triangles", mesh=path.read_bytes())
    splats = to_splats(read_splat_ply(path))
    return Content(path.name, f"{len(splats)} Gaussians", splats=splats)


def to_splats(file: SplatFile) -> Splats:
    """Covariances `R diag(s^2) R^T`, opacities and the constant part of the colours."""
    turned = rotation_matrices(file.rotations) * file.scales.exp().unsqueeze(-2)
    colors = (0.5 + DC * file.harmonics[:, 0]).clamp(0, 1)
    opacities = torch.sigmoid(file.opacities).unsqueeze(-1)
    return Splats(*(part.numpy() for part in (file.positions, turned @ turned.mT, colors, opacities)))


def _run(folder: Path) -> Content:
    recipe = load_recipe(str(folder / "recipe.toml"))
    mesh = (folder / "asset.glb").read_bytes() if (folder / "asset.glb").is_file() else None
    title = recipe.prompt.text or folder.name
    stored, note = load_latest(folder / OWN)
    stage = ""
    if stored is None and recipe.coarse is not None:
        recipe, stage = recipe.coarse, "coarse stage, "
        stored, note = load_latest(folder / COARSE)
    if stored is None:
        return Content(title, "finished" if mesh else "waiting for the first checkpoint", mesh)
    scene = recipe.scene()
    scene.load_state_dict(stored.part("scene"))
    scene.eval()
    step, steps = int(stored.facts.get("step", 0)), max(int(stored.facts.get("steps", 1)), 1)
    done = mesh is not None and step >= steps and not stage
    status = "finished" if done else f"{stage}step {step} of {steps}"
    cloud = scene.shape if isinstance(scene.shape, Gaussians) else None
    splats = None if cloud is None else to_splats(to_splat_file(cloud, scene.material))
    # The mesh of an earlier export says nothing about a run that goes on.
    return Content(title, note or status, mesh if done else None, splats, scene, min(step / steps, 1.0))


def _status(path: Path):
    try:
        return path.stat()
    except FileNotFoundError:
        return None
