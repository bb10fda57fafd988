"""The page in a real browser: generate, stop, reload in the middle, download, edit, three visitors, hostile words.

Needs the extra `app`, `playwright` (the Python package, not its browsers) and a Chromium on the PATH.
"""

import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from service_orders import CONVERSION, REFINEMENT, SMALL, tiny_prior, wait, wait_for_step, white_ball

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'dreamkit[app]'")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on the PATH; on Debian: apt install chromium", allow_module_level=True)

import app  # noqa: E402
from dreamkit.service.run import State  # noqa: E402
from dreamkit.service.runs import Runs  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PATIENCE = 150_000
"Milliseconds: two busy cores, a software renderer."


@dataclass
class Site:
    """A server with a tiny prior, and a browser."""

    runs: Runs
    address: str
    browser: "playwright.Browser"
    prior: str
    strangers: list[str] = field(default_factory=list)
    "Requests that would leave this machine."

    def visit(self, path: str = "/", width: int = 1280) -> "playwright.Page":
        """A visitor of its own, on a page that is ready."""
        page = self.browser.new_context(viewport={"width": width, "height": 844}).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self._note(request.url))
        page.goto(self.address + path)
        # The recipe's own number of steps arrives when the page is connected to the server.
        page.wait_for_function("document.querySelector('#steps input')?.value > 0")
        return page

    def settings(self, steps: int, *more: str) -> str:
        return "\n".join([*SMALL, f"prior.model={self.prior!r}", f"training.steps={steps}", *more])

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.strangers.append(url)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    prior = tiny_prior(tmp_path_factory.mktemp("prior"))
    runs = Runs(tmp_path_factory.mktemp("runs"), priors=("toybox", prior))
    page = app.serve(runs, "127.0.0.1", None, block=False)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Site(runs, page.local_url.rstrip("/"), browser, prior)
        browser.close()
    page.close()
    runs.close()


@pytest.fixture(scope="module")
def finished(site: Site) -> str:
    page = site.visit()
    order(site, page, "a red mug", 6)
    name = name_of(page)
    page.wait_for_selector("[data-state=done]")
    page.context.close()
    return name


@pytest.fixture(autouse=True)
def goodbye(site: Site) -> Iterator[None]:
    """Visitors leave when their test is over."""
    yield
    for visit in site.browser.contexts:
        visit.close()


def order(site: Site, page: "playwright.Page", prompt: str, steps: int) -> None:
    """Fill in the form and press Generate; the run is on the page when this returns."""
    page.fill("#prompt textarea", prompt)
    advance(page, "#advanced", site.settings(steps))
    page.click("#generate")
    page.wait_for_selector("[data-run]")
    page.wait_for_url(re.compile(r"\?run="))


def advance(page: "playwright.Page", accordion: str, settings: str) -> None:
    """Write settings into the field behind "Advanced"."""
    page.click(f"{accordion} > button")
    page.fill(f"{accordion} .dk-settings textarea", settings)


def choose(page: "playwright.Page", dropdown: str, name: str) -> None:
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=f"({name})").click()


def name_of(page: "playwright.Page") -> str:
    return page.get_attribute("[data-run]", "data-run")


def test_generate_watch_and_download(site: Site) -> None:
    page = site.visit()
    order(site, page, "a blue mug", 8)
    page.wait_for_selector(".dk-tiles img[alt=normals]")
    page.wait_for_selector("[data-state=done]")
    name = name_of(page)
    assert name == "a-blue-mug-0"
    page.wait_for_selector("#model canvas")
    endings = {"glb": "asset.glb", "obj": "asset-obj.zip", "video": "turntable.mp4", "recipe": "recipe.toml"}
    for key, file in endings.items():
        with page.expect_download() as download:
            page.click(f"#file-{key}")
        assert Path(download.value.path()).read_bytes() == (site.runs.folder / name / file).read_bytes()
    assert page.locator(f'#gallery a[href="?run={name}"]').count() == 1
    assert not page.is_visible("#stop")


def test_stop_stops_and_continue_goes_on(site: Site) -> None:
    page = site.visit()
    order(site, page, "a red bear", 60)
    name = name_of(page)
    wait_for_step(site.runs, name, 3)
    page.click("#stop")
    page.wait_for_selector("[data-state=stopped]")
    stopped = site.runs.snapshot(name)
    assert stopped.state is State.STOPPED
    assert stopped.index < 60
    page.click("#continue")
    page.wait_for_selector("[data-state=done]")
    assert site.runs.snapshot(name).index == site.runs.snapshot(name).total


def test_a_run_survives_a_reload_in_the_middle(site: Site) -> None:
    page = site.visit()
    order(site, page, "a blue bear", 60)
    name = name_of(page)
    wait_for_step(site.runs, name, 2)
    page.reload()
    page.wait_for_selector(f"[data-run={name}]")
    assert page.text_content(".dk-live h2") == "a blue bear"
    page.wait_for_selector("[data-state=done]")
    assert len(site.runs.snapshot(name).losses) == 60, "the run was begun twice, or steps were lost"


def test_three_visitors_at_once_each_get_their_own(site: Site) -> None:
    prompts = ("a striped red mug", "a striped blue mug", "a striped red bear")
    pages = [site.visit() for _ in prompts]
    for page, prompt in zip(pages, prompts, strict=True):
        order(site, page, prompt, 10)
    names = [name_of(page) for page in pages]
    assert len(set(names)) == 3
    for page, prompt, name in zip(pages, prompts, names, strict=True):
        page.wait_for_selector("[data-state=done]")
        assert name_of(page) == name
        assert page.text_content(".dk-live h2") == prompt
        assert f'text = "{prompt}"' in (site.runs.folder / name / "recipe.toml").read_text()


def test_edit_a_finished_run(site: Site, finished: str) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Edit").click()
    choose(page, "#source", finished)
    page.fill("#edit-prompt textarea", "a blue mug")
    lines = [line for line in site.settings(4).splitlines() if not line.startswith("shape.")]
    advance(page, "#edit-advanced", "\n".join(lines))
    page.click("#edit")
    page.wait_for_selector("[data-state=done]")
    assert f"{finished}" in (site.runs.folder / name_of(page) / "recipe.toml").read_text()


def test_refine_an_uploaded_mesh(site: Site, tmp_path: Path) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Refine").click()
    page.fill("#refine-prompt textarea", "a striped blue mug")
    page.click("#refine")
    page.wait_for_function("document.querySelector('.dk-error')?.textContent.includes('upload a file')")
    page.set_input_files("#refine-file input[type=file]", white_ball(tmp_path / "my mug.glb"))
    page.get_by_text("my mug.glb").wait_for()
    lines = [*REFINEMENT, f"prior.model={site.prior!r}", "training.steps=6"]
    advance(page, "#refine-advanced", "\n".join(lines))
    page.click("#refine")
    page.wait_for_url(re.compile(r"\?run=a-striped-blue-mug"))
    page.wait_for_selector("[data-state=done]")
    page.wait_for_selector("#model canvas")
    folder = site.runs.folder / name_of(page)
    assert (folder / "source.glb").read_bytes() == (tmp_path / "my mug.glb").read_bytes()
    with page.expect_download() as download:
        page.click("#file-glb")
    assert Path(download.value.path()).read_bytes() == (folder / "asset.glb").read_bytes()
    assert page.locator(f'#gallery a[href="?run={folder.name}"]').count() == 1


def test_refine_says_what_each_choice_changes(site: Site, finished: str) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Refine").click()
    choose(page, "#refined", finished)
    assert page.input_value("#refine-recipe input") == "toybox-texture"
    page.get_by_label("Shape too").check()
    page.wait_for_function("document.querySelector('#refine-recipe input').value == 'toybox-mesh'")
    page.wait_for_function("document.querySelector('#refine-steps input').value == 150")
    page.fill("#refine-prompt textarea", "a red dragon")
    page.click("#refine")
    page.wait_for_function("document.querySelector('.dk-error')?.textContent.includes('does not know')")


def test_convert_a_finished_run_and_see_what_was_kept(site: Site, finished: str) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Convert").click()
    choose(page, "#converted", finished)
    page.click("#kind input")
    page.get_by_role("option", name="Voxel grid").click()
    page.wait_for_function("document.querySelector('#way').textContent.includes('Hash grid → Voxel grid')")
    advance(page, "#convert-advanced", "\n".join(CONVERSION))
    page.click("#by input")
    page.get_by_role("option", name="pvd", exact=True).click()
    page.click("#convert")
    page.wait_for_url(re.compile(r"\?run=.*voxel-field"))
    page.wait_for_selector("[data-state=done]")
    page.wait_for_selector("#model canvas")
    assert page.text_content(".dk-live h2") == "a red mug as voxel field"
    assert "hash field → voxel field" in page.text_content(".dk-kept")
    assert page.locator(".dk-views i").count() == 10
    with page.expect_download() as download:
        page.click("#file-glb")
    name = name_of(page)
    assert Path(download.value.path()).read_bytes() == (site.runs.folder / name / "asset.glb").read_bytes()


def test_a_conversion_of_nothing_and_of_a_bad_size_is_told(site: Site, finished: str) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Convert").click()
    page.click("#convert")
    assert "choose the run to convert" in page.text_content(".dk-error")
    choose(page, "#converted", finished)
    advance(page, "#convert-advanced", "shape.count=100000000")
    page.click("#convert")
    page.wait_for_function("document.querySelector('.dk-error')?.textContent.includes('at most 1,000,000')")


def test_export_again(site: Site, finished: str) -> None:
    page = site.visit()
    page.get_by_role("tab", name="Export").click()
    choose(page, "#exported", finished)
    page.wait_for_function("document.querySelector('#export-faces input').value == 300")
    page.fill("#export-faces input", "80")
    page.click("#export")
    page.wait_for_url(re.compile(r"\?run="))
    page.wait_for_selector("[data-state=done]")
    wait(site.runs, finished)
    assert '"faces": 8' in (site.runs.folder / finished / "metrics.json").read_text()


def test_a_usdz_is_made_where_it_is_asked_for(site: Site, finished: str) -> None:
    pytest.importorskip("pxr", reason="needs usd-core: pip install 'dreamkit[usd]'")
    page = site.visit()
    page.get_by_role("tab", name="Export").click()
    choose(page, "#exported", finished)
    # The run's own numbers arrive first; a box that is ticked before would be filled in again.
    page.wait_for_function("document.querySelector('#export-faces input').value == 300")
    page.check("#export-usdz input")
    page.click("#export")
    page.wait_for_selector("[data-state=done]")
    with page.expect_download() as download:
        page.click("#file-usdz")
    assert Path(download.value.path()).read_bytes() == (site.runs.folder / finished / "asset.usdz").read_bytes()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("", "the prompt is empty"), ("a red dragon", "does not know 'dragon'"), ("<b id=x>red</b>", "does not know 'b'")],
)
def test_what_is_wrong_is_said_below_the_button(site: Site, prompt: str, words: str) -> None:
    page = site.visit()
    page.fill("#prompt textarea", prompt)
    page.click("#generate")
    assert words in page.text_content(".dk-error")
    assert page.locator("b#x").count() == 0
    assert "?run=" not in page.url


def test_a_bad_setting_and_a_foreign_file_are_refused(site: Site) -> None:
    page = site.visit()
    page.fill("#prompt textarea", "a red mug")
    advance(page, "#advanced", "prior.model=/etc")
    page.click("#generate")
    assert "this server offers" in page.text_content(".dk-error")


def test_a_hostile_prompt_stays_text_in_the_gallery(site: Site, finished: str) -> None:
    # The last two: gradio's HTML component is a template.
    hostile = "<img src=x onerror=window.taken=1><script>window.taken=1</script>${window.taken=1}{{7*7}}"
    folder = site.runs.folder / "hostile"
    shutil.copytree(site.runs.folder / finished, folder)
    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(text.replace('text = "a red mug"', f'text = "{hostile}"'))
    try:
        page = site.visit("/?run=hostile")
        page.wait_for_selector("[data-run=hostile]")
        assert page.text_content(".dk-live h2") == hostile
        assert hostile in page.locator("#gallery strong").all_text_contents()
        assert page.evaluate("window.taken") is None
    finally:
        shutil.rmtree(folder)


def test_an_address_that_names_no_run_says_so(site: Site) -> None:
    page = site.visit("/?run=../../etc")
    assert "there is no run" in page.text_content("#live .dk-error")


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(app.__file__).resolve()), "../pyproject.toml"])
def test_files_outside_the_runs_are_not_served(site: Site, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{site.address}/gradio_api/file={path}")
    assert caught.value.code in (403, 404)


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_sticks_out_at_any_width(site: Site, finished: str, width: int) -> None:
    page = site.visit(f"/?run={finished}", width)
    page.wait_for_selector("#model canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_is_fetched_from_elsewhere(site: Site, finished: str) -> None:
    """All visits of this file so far, 3D view included; the page works on a machine without network."""
    assert site.strangers == []
