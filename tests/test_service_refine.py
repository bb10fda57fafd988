"""Refining on the server: uploads are looked at and confined; and a conversion outlives its server."""

import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from service_orders import CONVERSION, REFINEMENT, small, tiny_prior, wait, white_ball

from dreamkit.service import markup, upload
from dreamkit.service.conversion_order import ConversionOrder, read_order
from dreamkit.service.order import Order
from dreamkit.service.past import UnknownRun
from dreamkit.service.run import State
from dreamkit.service.runs import Runs, TooBusy
from dreamkit.service.upload import Upload


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_prior(tmp_path_factory.mktemp("prior"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, prior: str) -> Iterator[Runs]:
    served = Runs(tmp_path_factory.mktemp("runs"), priors=("toybox", prior))
    yield served
    served.close()


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    path = white_ball(tmp_path_factory.mktemp("files") / "white.glb")
    return Upload("../../my mug.GLB", path.read_bytes())


def refined(prior: str, **other) -> Order:
    settings = (*REFINEMENT, "training.steps=3", *other.pop("settings", ()))
    return Order("a blue mug", "toybox-texture", prior=prior, settings=settings, refines=True, **other)


@pytest.fixture(scope="module")
def textured(runs: Runs, prior: str, asset: Upload) -> str:
    name = runs.submit(refined(prior, asset=asset))
    assert wait(runs, name).state is State.DONE, runs.snapshot(name).error
    return name


def test_an_upload_is_kept_beside_its_run(runs: Runs, asset: Upload, textured: str) -> None:
    folder = runs.folder / textured
    assert (folder / "source.glb").read_bytes() == asset.content
    table = tomllib.loads((folder / "recipe.toml").read_text())
    assert table["source"]["path"] == str(folder / "source.glb")
    assert textured in [past.name for past in runs.history()]


def test_a_finished_run_is_refined(runs: Runs, prior: str, textured: str) -> None:
    name = runs.submit(refined(prior, source=textured, seed=3))
    assert wait(runs, name).state is State.DONE, runs.snapshot(name).error
    table = tomllib.loads((runs.folder / name / "recipe.toml").read_text())
    assert table["source"]["path"] == str(runs.folder / textured)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mug.exe", b"", "one of .glb"), ("glb", b"", "one of .glb"), ("mug.gltf", b"{}", "one of .glb"),
        ("mug.glb", b"", "damaged"), ("mug.glb", b"glTF" + bytes(40), "glTF|damaged"), ("mug.ply", b"ply\n", "damaged"),
        ("mug.obj", b"mtllib /etc/passwd\nv 0 0 0\n", "outside its folder"), ("mug.obj", b"v 0 0 0\n", "mug|source"),
        ("mug.stl", bytes(80) + b"\xff\xff\xff\x7f", "cut short"), ("mug.off", b"\xff\xfe", "damaged|source"),
        ("a" * 5000 + ".glb", b"x", "damaged"),
    ],
)  # fmt: skip
def test_a_bad_upload_is_refused_and_leaves_no_folder(
    runs: Runs, prior: str, name: str, content: bytes, words: str
) -> None:
    before = set(runs.folder.iterdir())
    with pytest.raises(ValueError, match=words):
        runs.submit(refined(prior, asset=Upload(name, content)))
    assert set(runs.folder.iterdir()) == before


def test_large_uploads_are_refused(runs: Runs, prior: str, asset: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MOST_FACES", 10)
    with pytest.raises(ValueError, match="holds 192 triangles; this server takes at most 10"):
        runs.submit(refined(prior, asset=asset))
    monkeypatch.setattr(upload, "LARGEST_ASSET", 100)
    with pytest.raises(ValueError, match="an upload has at most"):
        runs.submit(refined(prior, asset=asset))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asset": None}, "choose a finished run, or upload a file"),
        ({"asset": None, "source": "../x"}, "there is no run"),
        ({"refines": False}, "on the Refine tab"),
        ({"recipe": "toybox-dds", "settings": ()}, "on the Edit tab"),
        ({"upload": b'extends = "toybox-texture"\n[source]\npath = "/etc/passwd"\n', "refines": False}, "no paths"),
        ({"settings": ("source.path=/etc/passwd",), "refines": False}, "no paths"),
        ({"settings": ("source.path=nothing",), "refines": False}, "on the Refine tab"),
        ({"settings": ("converter={type='pvd'}",)}, "no part in making"),
        ({"prompt": "a red dragon"}, "does not know"),
    ],
)
def test_a_bad_order_is_refused(runs: Runs, prior: str, asset: Upload, changes: dict, words: str) -> None:
    before = set(runs.folder.iterdir())
    with pytest.raises(ValueError, match=words):
        runs.submit(replace(refined(prior, asset=asset), **changes))
    assert set(runs.folder.iterdir()) == before


def test_no_setting_chooses_another_source(runs: Runs, prior: str, asset: Upload) -> None:
    name = runs.submit(refined(prior, asset=asset, settings=("source.path=/etc/passwd",)))
    runs.stop(name)
    wait(runs, name)
    table = tomllib.loads((runs.folder / name / "recipe.toml").read_text())
    assert table["source"]["path"] == str(runs.folder / name / "source.glb")


def test_a_full_queue_keeps_no_upload(tmp_path: Path, prior: str, asset: Upload) -> None:
    full = Runs(tmp_path, priors=(prior,), longest=0)
    try:
        with pytest.raises(TooBusy):
            full.submit(refined(prior, asset=asset))
        assert list(tmp_path.iterdir()) == []
    finally:
        full.close()


def test_a_conversion_outlives_its_server(runs: Runs, prior: str, tmp_path: Path) -> None:
    """Waiting, or killed on its way: the next server shows it as interrupted, and begins it again to the same bytes."""
    made = runs.submit(small(prior))
    assert wait(runs, made).state is State.DONE, runs.snapshot(made).error
    whole = runs.convert(made, "voxel", CONVERSION, by="pvd")
    assert wait(runs, whole).state is State.DONE, runs.snapshot(whole).error
    # What a server leaves that dies between a conversion's recipe and its export.
    shutil.copytree(runs.folder / made, tmp_path / made)
    shutil.copytree(runs.folder / whole, tmp_path / "killed")
    for name in ("metrics.json", "asset.glb", "checkpoint.safetensors"):
        (tmp_path / "killed" / name).unlink()
    second = Runs(tmp_path, priors=(prior,))
    try:
        shown = second.snapshot("killed")
        assert (shown.state, shown.title) == (State.STOPPED, "a red mug as voxel field")
        assert "Continue begins it again" in markup.live(shown)
        assert "killed" not in [past.name for past in second.history()]
        second.resume("killed")
        assert wait(second, "killed").state is State.DONE, second.snapshot("killed").error
        assert (tmp_path / "killed" / "asset.glb").read_bytes() == (runs.folder / whole / "asset.glb").read_bytes()
        shutil.rmtree(tmp_path / made)
        (tmp_path / "killed" / "metrics.json").unlink()
        third = Runs(tmp_path, priors=(prior,))
        with pytest.raises(UnknownRun):
            third.resume("killed")
        third.close()
    finally:
        second.close()


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_order(tmp_path) is None
    order = ConversionOrder("a-run", "voxel_field", "ünïcode \"'", ("shape.x='a'", 'b="c"'), "pvd")
    order.write(tmp_path)
    assert read_order(tmp_path) == order
    (tmp_path / "conversion.toml").write_text("settings = 3")
    with pytest.raises(ValueError, match="no whole order"):
        read_order(tmp_path)
