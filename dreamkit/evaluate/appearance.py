"""What can be said of finished runs without any model: how saturated, how alike, how far from the render."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import orbit
from dreamkit.evaluate.metrics import saturation
from dreamkit.export.load import load_mesh
from dreamkit.renderers.surface import render_surface


@dataclass(frozen=True)
class Appearance:
    """A finished run, and eight views of its asset."""

    folder: Path
    prompt: str
    seed: int | None
    steps: int | None
    "Both None for a run that was converted."
    seconds: float
    faces: int
    psnr: float
    "Of the mesh against the scene, in dB; median over held-out views."
    saturation: float
    judged: dict[str, float]
    "What `dreamkit evaluate` found, if it was run: `judge_` of the toy world's judge, `score_` of other models."
    losses: tuple[tuple[int, float], ...]
    "(step, loss) of the log."
    views: Float[Tensor, "views height width 3"]


def appearance(folder: Path, size: int = 128) -> Appearance:
    """Read and render a finished run. Raises FileNotFoundError for a folder without one."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run (no metrics.json)")
    told = json.loads(path.read_text(encoding="utf-8"))
    cameras = orbit([45.0 * i for i in range(8)], 15.0, height=size, width=size)
    seen = render_surface(load_mesh(folder / "asset.glb").fitted(), cameras)
    named = {name: value for name, value in told.items() if name.startswith(("judge_", "score_"))}
    judged = {name: value for name, value in named.items() if value is not None}
    return Appearance(
        folder, told["prompt"], told.get("seed"), told.get("steps"), sum(told["seconds"].values()), told["faces"],
        told["mesh_psnr_median"], saturation(seen.color, seen.alpha), judged, _losses(folder), seen.color,
    )  # fmt: skip


def diversity(runs: Sequence[Appearance]) -> float | None:
    """How far assets of one prompt are from each other: mean over pairs of `sqrt(mean (a - b)^2)` of their views.

    0 for assets that look alike from all sides; None where no prompt has two runs.
    """
    pairs = [(a, b) for a, b in combinations(runs, 2) if a.prompt == b.prompt]
    return mean(float((a.views - b.views).square().mean().sqrt()) for a, b in pairs) if pairs else None


def _losses(folder: Path) -> tuple[tuple[int, float], ...]:
    path = folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = [json.loads(line) for line in lines]
    found = {entry["step"]: entry["loss"] for entry in entries if entry["stage"] == "optimise" and entry.get("loss")}
    return tuple(sorted(found.items()))
