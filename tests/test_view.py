"""The viewer: what a run has to show at each moment, cameras, and a real viser server."""

import math
import socket
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import small_scene
from typer.testing import CliRunner

from dreamkit.cameras import orbit
from dreamkit.cli import app
from dreamkit.export.splat_file import SplatFile
from dreamkit.export.splat_ply import write_splat_ply
from dreamkit.recipe import load_recipe
from dreamkit.training.checkpoint import Checkpoint, prefixed, save_checkpoint
from dreamkit.view.content import check_viewable, read_content, stamp, to_splats
from dreamkit.view.eye import browser_camera, picture, raster

SMALL = ("shape.levels.levels=2", "shape.levels.log2_table_size=8", "shape.hidden=8", "renderer.samples=16")


def run_folder(folder: Path, recipe_name: str = "toybox", settings: tuple[str, ...] = SMALL, step: int = 3) -> Path:
    """A run in the middle of its training."""
    recipe = load_recipe(recipe_name, settings).asking("a <red> mug", 0)
    folder.mkdir()
    (folder / "recipe.toml").write_text(recipe.text())
    if step:
        save(folder, recipe.scene(), step)
    return folder


def save(folder: Path, scene, step: int, name: str = "checkpoint.safetensors") -> None:
    facts = {"step": str(step), "steps": "10"}
    save_checkpoint(folder / name, Checkpoint(prefixed("scene", scene.state_dict()), facts))


def cloud(count: int = 3) -> SplatFile:
    flat = torch.tensor([[0.1, 0.2, 0.3]]).expand(count, 3)
    turn = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(count, 4)
    return SplatFile(torch.arange(3.0 * count).view(count, 3), flat.log(), turn, torch.zeros(count),
                     torch.zeros(count, 1, 3))  # fmt: skip


def test_a_run_that_trains_shows_its_scene_and_how_far_it_is(tmp_path: Path) -> None:
    content = read_content(run_folder(tmp_path / "run"))
    assert (content.title, content.status) == ("a <red> mug", "step 3 of 10")
    assert content.progress == pytest.approx(0.3)
    assert content.scene is not None
    assert content.mesh is None
    assert content.splats is None


def test_a_run_before_its_first_checkpoint_waits(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", step=0)
    assert read_content(folder).status == "waiting for the first checkpoint"


def test_a_coarse_stage_is_shown_until_the_run_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "toybox-mesh", ("coarse.shape.count=50", "shape.resolution=8"), step=0)
    recipe = load_recipe(str(folder / "recipe.toml"))
    assert recipe.coarse is not None
    before = stamp(folder)
    save(folder, recipe.coarse.scene(), 7, "coarse.safetensors")
    assert stamp(folder) != before
    content = read_content(folder)
    assert content.status == "coarse stage, step 7 of 10"
    assert content.splats is not None
    assert content.progress == pytest.approx(0.7)
    save(folder, recipe.scene(), 2)
    content = read_content(folder)
    assert (content.status, content.splats) == ("step 2 of 10", None)


def test_a_cloud_is_shown_as_splats(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "toybox-gaussians", ("shape.count=50",))
    content = read_content(folder)
    assert content.splats is not None
    assert len(content.splats) == 50
    write_splat_ply(cloud(), tmp_path / "a.ply")
    assert read_content(tmp_path / "a.ply").status == "3 Gaussians"


def test_splats_without_a_turn_have_their_variances_on_the_diagonal() -> None:
    splats = to_splats(cloud())
    # Float32 of squares of 0.1, 0.2, 0.3; measured: 1e-9 off.
    assert np.allclose(splats.covariances, np.diag([0.01, 0.04, 0.09]), atol=1e-7)
    assert np.allclose(splats.colors, 0.5)
    assert np.allclose(splats.opacities, 0.5)


def test_the_stamp_changes_with_the_checkpoint(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    before = stamp(folder)
    assert stamp(folder) == before
    save(folder, load_recipe("toybox", SMALL).scene(), 4)
    assert stamp(folder) != before


def test_a_browsers_camera_looks_where_ours_does() -> None:
    """viser's front camera at (0, 0, d): its +Z looks at the origin, its +Y is down."""
    half_turn = np.array([0.0, 1.0, 0.0, 0.0])
    ours = orbit([0.0], 0.0, 2.5, 40.0, 8, 12)
    seen = browser_camera(half_turn, np.array([0.0, 0.0, 2.5]), math.radians(40), 8, 12)
    # Rounding of float32; measured: 2e-7.
    assert torch.allclose(seen.pose, ours.pose, atol=1e-6)
    assert torch.allclose(seen.fov, ours.fov, atol=1e-4)
    assert raster(600, 800, 96) == (72, 96)
    assert raster(40, 50, 96) == (40, 50)


def test_a_picture_is_bytes_of_the_scene_from_there() -> None:
    seen = picture(small_scene(), orbit([0.0], 0.0, 2.5, 40.0, 8, 12), 0.5)
    assert seen.shape == (8, 12, 3)
    assert seen.dtype == np.uint8


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match="nothing"):
        check_viewable(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not the folder of a run"):
        check_viewable(tmp_path)
    with pytest.raises(ValueError, match="cannot show notes"):
        check_viewable(tmp_path / "notes.txt")


def test_the_command_explains_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = CliRunner().invoke(app, ["view", str(tmp_path)])
    assert answer.exit_code == 2
    assert "not the folder of a run" in answer.stderr
    folder = run_folder(tmp_path / "run")
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    answer = CliRunner().invoke(app, ["view", str(folder)])
    assert answer.exit_code == 2
    assert "pip install 'dreamkit[view]'" in answer.stderr


viser = pytest.importorskip("viser", reason="the viewer needs viser: pip install 'dreamkit[view]'")


def test_a_taken_port_is_named_and_another_proposed(tmp_path: Path) -> None:
    from dreamkit.view.viewer import PortTaken, Viewer

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"--port {port + 1}"):
            Viewer(run_folder(tmp_path / "run"), port)


def test_a_real_server_follows_the_run(tmp_path: Path) -> None:
    """Page served; new checkpoints are read, damaged ones told; Gaussians become splats."""
    from dreamkit.view.viewer import Viewer

    folder = run_folder(tmp_path / "run", "toybox-gaussians", ("shape.count=50",))
    viewer = Viewer(folder, 0)
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{viewer.port}/").read()
        assert b"<html" in page.lower()
        assert viewer.refresh()
        assert not viewer.refresh(), "nothing is new"
        assert (viewer.choice.options, viewer.choice.value) == (("splats", "render"), "splats")
        assert "&#60;red&#62;" in viewer.title.content
        assert "step 3 of 10" in viewer.status.content
        save(folder, load_recipe("toybox-gaussians", ("shape.count=50",)).scene(), 7)
        assert viewer.refresh()
        assert "step 7 of 10" in viewer.status.content
        for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
            (folder / name).write_bytes(b"broken")
        assert not viewer.refresh()
        assert "cannot be read" in viewer.status.content
        viewer.draw()
    finally:
        viewer.close()


class Window:
    """A visitor's browser, as viser describes it."""

    def __init__(self) -> None:
        self.camera = self
        self.scene = self
        self.wxyz, self.position, self.fov = np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 2.5]), 0.7
        self.image_height, self.image_width = 300, 400
        self.pictures: list[np.ndarray] = []

    def set_background_image(self, image: np.ndarray, format: str) -> None:
        self.pictures.append(image)


def test_a_scene_is_drawn_coarsely_at_once_finely_at_rest_and_again_when_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dreamkit.view import viewer as module

    monkeypatch.setattr(module, "SIZES", (12, 24))
    monkeypatch.setattr(module, "REST", 0.0)
    viewer = module.Viewer(run_folder(tmp_path / "run"), 0)
    try:
        window = Window()
        monkeypatch.setattr(viewer.server, "get_clients", lambda: {5: window})
        viewer.content = read_content(viewer.path)
        moments = iter((0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0))
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(moments)))
        for _ in range(3):
            viewer.draw()
        assert [image.shape for image in window.pictures] == [(9, 12, 3), (18, 24, 3)]
        window.position = np.array([0.0, 0.1, 2.5])
        viewer.draw()
        assert len(window.pictures) == 3
    finally:
        viewer.close()


def test_ctrl_c_closes_the_view_and_is_no_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dreamkit.view import viewer as module

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=interrupted))
    answer = CliRunner().invoke(app, ["view", str(run_folder(tmp_path / "run")), "--port", "0"])
    assert answer.exit_code == 0, answer.output
    assert "http://127.0.0.1:" in answer.stderr
    assert "step 3 of 10" in answer.stderr
    assert "closed" in answer.stderr
