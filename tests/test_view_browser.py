"""`dreamkit view` in a real browser: a visitor sees splats, chooses the render, and sees the run go on.

Needs the extra `view`, `playwright` (the Python package, not its browsers) and a Chromium on the PATH.
"""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamkit.recipe import load_recipe
from dreamkit.representations.gaussians import Gaussians
from dreamkit.training.checkpoint import Checkpoint, prefixed, save_checkpoint

pytest.importorskip("viser", reason="the viewer needs viser: pip install 'dreamkit[view]'")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on the PATH; on Debian: apt install chromium", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run"]
PATIENCE = 240.0
"Seconds: two busy cores, a software renderer."
RED, BLUE = (1.0, 0.05, 0.05), (0.05, 0.05, 1.0)


def save(folder: Path, color: tuple[float, float, float], step: int) -> None:
    """The checkpoint of a run whose cloud is a ball of one colour."""
    scene = load_recipe(str(folder / "recipe.toml")).scene()
    cloud = scene.shape
    assert isinstance(cloud, Gaussians)
    with torch.no_grad():
        cloud.opacities.fill_(4.0)
        cloud.colors[:, 0] = torch.tensor(color).logit()
    facts = {"step": str(step), "steps": "10"}
    save_checkpoint(folder / "checkpoint.safetensors", Checkpoint(prefixed("scene", scene.state_dict()), facts))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recipe = load_recipe("toybox-gaussians", ("shape.count=400", "shape.size=0.5")).asking("a red ball", 0)
    (tmp_path / "recipe.toml").write_text(recipe.text())
    save(tmp_path, RED, 3)
    return tmp_path


@pytest.fixture
def browser() -> "Iterator[playwright.Browser]":
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def middle(page: "playwright.Page") -> np.ndarray:
    """Mean colour of the middle of what the visitor sees."""
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(float)
    height, width, _ = image.shape
    return image[2 * height // 5 : 3 * height // 5, 2 * width // 5 : 3 * width // 5].mean(axis=(0, 1))


def until(viewer, page: "playwright.Page", seen: Callable[[], bool]) -> None:
    """Let the server and the browser work until something is seen."""
    end = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < end, page.inner_text("body")
        viewer.refresh()
        viewer.draw()
        page.wait_for_timeout(200)


def test_a_visitor_sees_the_run_and_that_it_goes_on(folder: Path, browser: "playwright.Browser") -> None:
    from dreamkit.view.viewer import Viewer

    viewer = Viewer(folder, 0)
    try:
        page = browser.new_page(viewport={"width": 640, "height": 480})
        page.goto(f"http://127.0.0.1:{viewer.port}/")
        until(viewer, page, lambda: "step 3 of 10" in page.inner_text("body"))
        assert "a red ball" in page.inner_text("body")
        until(viewer, page, lambda: is_mostly(0, middle(page)))
        viewer.choice.value = "render"
        until(viewer, page, lambda: is_mostly(0, middle(page)))
        save(folder, BLUE, 7)
        until(viewer, page, lambda: "step 7 of 10" in page.inner_text("body") and is_mostly(2, middle(page)))
    finally:
        viewer.close()


def is_mostly(channel: int, color: np.ndarray) -> bool:
    """Whether one channel is far above the others, out of 255."""
    return color[channel] > 60 + np.delete(color, channel).max()
