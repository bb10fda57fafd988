"""A server for tests: a random prior of a few thousand parameters, and orders that take a second or two."""

import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from tiny_models import VOCABULARY, save_tiny_model

from dreamkit.export.gltf import write_glb
from dreamkit.representations.textured_mesh import ball
from dreamkit.service.order import Order
from dreamkit.service.run import Snapshot
from dreamkit.service.runs import Runs

SMALL = (
    "training.checkpoint_every=2",
    "training.preview_every=2",
    "training.milestones={starts=[0.0], sizes=[16], views=[1]}",
    "shape.hidden=8",
    "shape.levels={levels=2, log2_table_size=8, growth=1.5}",
    "shape.active_levels=2.0",
    "shape.density_map.scale=20",
    "renderer.samples=16",
    "prior.cache_embeddings=false",
    "export.grid=16",
    "export.faces=300",
    "export.texture=64",
    "export.refine=0",
    "export.level=5.0",
    "export.frames=2",
    "export.size=32",
)
"The dense blob keeps its surface without training."

CONVERSION = (
    "shape.resolutions=[12]", "converter.steps=2", "converter.rays=32", "converter.size=8", "converter.judged=8",
    "export.grid=16", "export.faces=100", "export.frames=0", "export.size=16", "export.texture=32", "export.refine=0",
)  # fmt: skip
"A second's worth of PVD to a voxel grid."


REFINEMENT = ("shape.texture=16", *(line for line in SMALL if not line.startswith(("shape.", "renderer."))))
"A second's worth of a new texture."


def white_ball(path: Path) -> Path:
    """A GLB of some triangles that has coordinates for a texture."""
    write_glb(replace(ball(0.5, 4), texture=torch.ones(8, 8, 3)), path)
    return path


def tiny_prior(folder: Path) -> str:
    """A model that knows bears and mugs, in red and blue."""
    save_tiny_model(folder)
    (folder / "vocabulary.json").write_text(json.dumps(VOCABULARY))
    return str(folder)


def small(prior: str, prompt: str = "a red mug", steps: int = 4, **other) -> Order:
    """An order of `steps` steps."""
    settings = (*SMALL, f"training.steps={steps}", *other.pop("settings", ()))
    return Order(prompt, prior=prior, settings=settings, **other)


def wait(runs: Runs, name: str, seconds: float = 200) -> Snapshot:
    """The run when nothing will change any more."""
    deadline = time.monotonic() + seconds
    while (run := runs.snapshot(name)).state.is_live:
        assert time.monotonic() < deadline, f"{name} is still {run.state} ({run.stage} {run.index})"
        time.sleep(0.02)
    return run


def wait_for_step(runs: Runs, name: str, index: int, seconds: float = 200) -> None:
    """Until the run has taken its first `index` steps."""
    deadline = time.monotonic() + seconds
    while runs.snapshot(name).index < index:
        assert time.monotonic() < deadline, f"{name} never came to step {index}"
        time.sleep(0.005)
