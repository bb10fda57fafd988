"""Scores by models from local folders: tiny random ones of the real layouts, and what is said where there are none."""

import json
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_clip, save_tiny_reward
from typer.testing import CliRunner

from dreamkit.cli import app
from dreamkit.evaluate.clip import Clip
from dreamkit.evaluate.reward import MEAN, STD, ImageReward, PickReward, load_reward
from dreamkit.evaluate.scores import asset_views, score_asset
from dreamkit.export.gltf import write_glb
from dreamkit.mesh import Mesh
from dreamkit.recipe import load_recipe


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_reward(tmp_path_factory.mktemp("models") / "reward")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 20, 24, 3, generator=torch.Generator().manual_seed(0))


def run_folder(folder: Path, prompt: str) -> Path:
    folder.mkdir()
    (folder / "recipe.toml").write_text(load_recipe("toybox").asking(prompt, 0).text())
    (folder / "metrics.json").write_text(json.dumps({"prompt": prompt, "judge_kind": 0.5}))
    solid = trimesh.creation.box((1, 2, 1))
    write_glb(
        Mesh(torch.tensor(solid.vertices, dtype=torch.float32), torch.tensor(solid.faces)), folder / "asset.glb", "a"
    )
    return folder


def test_the_reward_depends_on_picture_and_prompt_and_on_nothing_else(reward_folder: Path, images: torch.Tensor):
    reward = load_reward(reward_folder)
    assert isinstance(reward, ImageReward)
    red = reward.scores(images, "a red mug")
    assert red.shape == (3,)
    assert len(red.unique()) == 3
    assert not torch.allclose(red, reward.scores(images, "a blue cat"), atol=1e-4)
    # Each picture is judged alone, so a batch changes nothing but rounding; measured: 0.
    assert torch.allclose(red[1:2], reward.scores(images[1:2], "a red mug"), atol=1e-5)
    assert reward.scores(images, "a red mug " * 50).isfinite().all()


def test_the_head_is_linear_layers_and_the_constants_of_imagereward(
    reward_folder: Path, images: torch.Tensor, tmp_path: Path
):
    """A head that ignores its input leaves its biases: `r = (b - mean) / std`."""
    folder = tmp_path / "constant"
    folder.mkdir()
    for file in reward_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    head = load_file(folder / "reward.safetensors")
    zeros = {name: torch.zeros_like(value) for name, value in head.items()}
    save_file(zeros | {"layers.2.bias": torch.tensor([2.0])}, folder / "reward.safetensors")
    scores = load_reward(folder).scores(images, "a mug")
    # Rounding of float32; measured: 1e-7.
    assert torch.allclose(scores, torch.full((3,), (2.0 - MEAN) / STD), atol=1e-5)


def test_a_clip_as_reward_is_its_sharpened_cosine(clip_folder: Path, images: torch.Tensor):
    reward = load_reward(clip_folder)
    assert isinstance(reward, PickReward)
    clip = Clip(clip_folder)
    expected = clip.similarity(images, ["a mug"])[:, 0] * clip.model.logit_scale.exp()
    assert torch.allclose(reward.scores(images, "a mug"), expected.detach())


def test_r_precision_needs_others_and_reward_needs_no_clip(clip_folder: Path, reward_folder: Path, images):
    clip = Clip(clip_folder)
    alone = score_asset(images, "a red mug", ["a red mug"], clip)
    assert alone.clip_score is not None
    assert (alone.r_precision, alone.reward) == (None, None)
    among = score_asset(images, "a red mug", ["a blue cat", "a car", "a blue cat"], clip, load_reward(reward_folder))
    assert among.r_precision in (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
    assert among.best_reward >= among.reward
    assert set(alone.entries()) == {"score_clip_score"}


def test_eight_sides_before_white(tmp_path: Path):
    views = asset_views(run_folder(tmp_path / "a", "a mug") / "asset.glb", size=16)
    assert views.shape == (8, 16, 16, 3)
    assert (views[:, 0, 0] == 1).all()
    assert (views[:, 8, 8] < 1).all()


def test_the_command_writes_the_scores_and_leaves_the_others(clip_folder: Path, reward_folder: Path, tmp_path: Path):
    runs = [run_folder(tmp_path / "one", "a red mug"), run_folder(tmp_path / "two", "an <owl> on a bike")]
    (tmp_path / "others.txt").write_text("a green dragon\na cat\n")
    given = ["evaluate", *map(str, runs), "--clip", str(clip_folder), "--reward", str(reward_folder)]
    answer = CliRunner().invoke(app, [*given, "--among", str(tmp_path / "others.txt"), "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    assert "mean" in answer.stdout
    for run in runs:
        told = json.loads((run / "metrics.json").read_text())
        assert told["judge_kind"] == 0.5
        assert {"score_clip_score", "score_r_precision", "score_reward", "score_best_reward"} <= set(told)


@pytest.mark.parametrize("option", ["--clip", "--reward"])
def test_a_folder_without_a_model_is_named(option: str, tmp_path: Path):
    run = run_folder(tmp_path / "one", "a red mug")
    (tmp_path / "empty").mkdir()
    answer = CliRunner().invoke(app, ["evaluate", str(run), option, str(tmp_path / "empty"), "--device", "cpu"])
    assert answer.exit_code == 2
    assert "config.json" in answer.stderr
    assert "score_clip_score" not in (run / "metrics.json").read_text()
    answer = CliRunner().invoke(app, ["evaluate", str(run), "--among", "x.txt"])
    assert answer.exit_code == 2
    assert "--clip FOLDER" in answer.stderr


def test_parts_that_do_not_fit_are_named(tmp_path: Path, reward_folder: Path):
    with pytest.raises(ValueError, match="16 features"):
        load_reward(save_tiny_reward(tmp_path / "wide", width=16))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="'vit'"):
        load_reward(tmp_path / "other")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((reward_folder / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"reward\.safetensors"):
        load_reward(bare)
    save_file({"layers.0.weight": torch.zeros(1, 8)}, bare / "reward.safetensors")
    with pytest.raises(ValueError, match=r"layers\.0\.bias"):
        load_reward(bare)
