"""`dreamkit convert` in miniature: a run's folder in, a folder that other commands read out."""

import json
import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import small_scene

from dreamkit.construct import RecipeError
from dreamkit.conversion import convert_run
from dreamkit.export.check_file import DamagedFile
from dreamkit.export.gltf import write_glb
from dreamkit.generate import FolderInUse, export_run, load_scene
from dreamkit.recipe import load_recipe
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.representations.textured_mesh import ball
from dreamkit.training.checkpoint import Checkpoint, prefixed, save_checkpoint
from dreamkit.training.lock import FolderBusy, exclusive

SPHERE = ("shape.levels.levels=2", "shape.active_levels=2.0", "renderer.samples=32")
QUICK = ("converter.steps=2", "converter.rays=32", "converter.size=8", "converter.judged=8", "export.grid=24",
         "export.frames=0", "export.size=16", "export.texture=64", "export.refine=0", "export.faces=200",
         "shape.resolutions=[24]")  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose scene is a sphere: what a fresh SDF is."""
    recipe = load_recipe("toybox-sdf", SPHERE).asking("a red mug", 0)
    scene = recipe.scene()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text(recipe.text())
    save_checkpoint(tmp_path / "run" / "checkpoint.safetensors", Checkpoint(prefixed("scene", scene.state_dict()), {}))
    return tmp_path / "run"


def test_a_converted_run_is_a_run_of_the_new_kind(run: Path, tmp_path: Path):
    out = tmp_path / "voxel"
    stages = {step.stage for step in convert_run(run, "voxel", out, "pvd", QUICK, seed=2)}
    assert stages == {"convert", "export"}
    recipe = load_recipe(str(out / "recipe.toml"))
    assert recipe.shape.name == "voxel_field"
    assert recipe.shape.arguments["resolutions"] == (24,)
    assert recipe.prompt.text == "a red mug"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["route"] == ["sdf_field", "voxel_field"]
    # A copy of the sphere at the vertices of a coarse grid; measured above 25.
    assert metrics["convert_psnr_median"] > 25
    assert len(metrics["convert_psnr"]) == 10
    again = load_scene(recipe, out)
    assert again.shape.density(torch.zeros(1, 3)).item() > 5
    before = (out / "asset.glb").read_bytes()
    for _ in export_run(out):
        pass
    assert (out / "asset.glb").read_bytes() == before
    with pytest.raises(FolderInUse, match="--out"):
        next(convert_run(run, "voxel", out, "pvd", QUICK))


def test_mistakes_are_explained_before_time_is_spent(run: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="did you mean 'voxel_field'"):
        next(convert_run(run, "voxl", tmp_path / "out"))
    with pytest.raises(RecipeError, match="did you mean 'pvd'"):
        next(convert_run(run, "vm", tmp_path / "out", by="pvdd"))
    with pytest.raises(RecipeError, match="shape, converter, export"):
        next(convert_run(run, "vm", tmp_path / "out", settings=["training.steps=3"]))
    with pytest.raises(RecipeError, match="resolution"):
        next(convert_run(run, "vm", tmp_path / "out", settings=["shape.resolutions=[3]"]))
    assert not (tmp_path / "out").exists()


def test_one_process_at_a_time_works_in_a_folder(run: Path, tmp_path: Path):
    out = tmp_path / "voxel"
    with exclusive(out), pytest.raises(FolderBusy, match="another process"):
        next(convert_run(run, "voxel", out, "pvd", QUICK))
    started = convert_run(run, "voxel", out, "pvd", QUICK)
    next(started)
    assert isinstance(started, Generator)
    with pytest.raises(FolderBusy, match="another process"), exclusive(out):
        pass
    # Stopped on its way (Ctrl-C), it gives the folder back, and a second try may begin.
    started.close()
    next(convert_run(run, "voxel", out, "pvd", QUICK))


IMPORTED = ("converter.color_steps=2", "converter.fit.steps=2", "converter.fit.size=8", "shape.resolution=12",
            "shape.levels.levels=2", *QUICK[4:-1])  # fmt: skip


def test_a_file_is_converted_like_a_run(tmp_path: Path):
    source, out = tmp_path / "red-mug.glb", tmp_path / "tets"
    write_glb(replace(ball(0.5, 6), texture=torch.full((8, 8, 3), 0.25)), source)
    for _ in convert_run(source, "tet_mesh", out, "to_surface", IMPORTED):
        pass
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["route"] == ["textured_mesh", "tet_mesh"]
    assert metrics["prompt"] == "red mug"
    # The ball fills its radius of 0.85. Measured: 2.457 instead of 2.572, flat triangles on a grid of 12 cells a side.
    shape = load_scene(load_recipe(str(out / "recipe.toml")), out).shape
    assert isinstance(shape, TetMesh)
    with torch.no_grad():
        mesh = shape.mesh()
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.85**3, rel=0.1)
    assert (out / "asset.glb").exists()


def test_a_damaged_file_is_refused_before_a_folder_is_made(tmp_path: Path):
    source = tmp_path / "cut.glb"
    write_glb(replace(ball(0.5, 6), texture=torch.zeros(8, 8, 3)), source)
    source.write_bytes(source.read_bytes()[:300])
    with pytest.raises(DamagedFile, match=r"cut\.glb"):
        next(convert_run(source, "voxel", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_small_scenes_are_unchanged():
    """A hash field without the 16-vector has the parameters that its checkpoints have always had."""
    names = [name for name in small_scene().state_dict() if name.startswith("shape.")]
    assert names == ["shape.table", "shape.density_head.weights.0", "shape.density_head.weights.1",
                     "shape.feature_head.weights.0", "shape.feature_head.weights.1"]  # fmt: skip
