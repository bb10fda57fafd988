"""The queue with a tiny prior and real runs: several visitors, stop and continue, a server that comes back."""

import hashlib
import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_orders import CONVERSION, small, tiny_prior, wait, wait_for_step

from dreamkit.service.order import Order
from dreamkit.service.past import UnknownRun, downloads, metrics
from dreamkit.service.run import State
from dreamkit.service.runs import Runs, TooBusy


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_prior(tmp_path_factory.mktemp("prior"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, prior: str) -> Iterator[Runs]:
    served = Runs(tmp_path_factory.mktemp("runs"), priors=("toybox", prior))
    yield served
    served.close()


@pytest.fixture(scope="module")
def finished(runs: Runs, prior: str) -> str:
    name = runs.submit(small(prior))
    assert wait(runs, name).state is State.DONE, runs.snapshot(name).error
    return name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_leaves_an_asset_and_shows_in_the_history(runs: Runs, finished: str) -> None:
    assert finished in [past.name for past in runs.history()]
    files = downloads(runs.folder / finished)
    assert set(files) == {"glb", "obj", "video", "recipe"}
    assert len(runs.snapshot(finished).losses) == 4


def test_three_visitors_at_once_each_get_their_own(runs: Runs, prior: str) -> None:
    orders = [
        small(prior, f"a {color} mug", steps=3, seed=seed) for color, seed in (("red", 7), ("blue", 8), ("red", 7))
    ]
    names = [runs.submit(order) for order in orders]
    assert len(set(names)) == 3
    ahead = [runs.snapshot(name).ahead for name in names]
    assert ahead == sorted(ahead)
    for name, order in zip(names, orders, strict=True):
        assert wait(runs, name).state is State.DONE
        table = tomllib.loads((runs.folder / name / "recipe.toml").read_text())
        assert (table["prompt"]["text"], table["seed"]) == (order.prompt, order.seed)
    # The same order twice: the same bytes, in two folders.
    assert digest(runs.folder / names[0] / "asset.glb") == digest(runs.folder / names[2] / "asset.glb")


def test_stop_then_continue_gives_the_bytes_of_an_undisturbed_run(runs: Runs, prior: str) -> None:
    whole = runs.submit(small(prior, steps=30, seed=3))
    assert wait(runs, whole).state is State.DONE
    name = runs.submit(small(prior, steps=30, seed=3))
    wait_for_step(runs, name, 5)
    runs.stop(name)
    stopped = wait(runs, name)
    assert stopped.state is State.STOPPED
    assert stopped.index < 30
    assert not (runs.folder / name / "asset.glb").exists()
    runs.resume(name)
    assert wait(runs, name).state is State.DONE
    assert digest(runs.folder / name / "asset.glb") == digest(runs.folder / whole / "asset.glb")


def test_a_waiting_run_can_be_stopped_and_does_not_hold_up_the_others(runs: Runs, prior: str) -> None:
    first, second, third = (runs.submit(small(prior, steps=20, seed=seed)) for seed in (11, 12, 13))
    runs.stop(second)
    assert runs.snapshot(second).state is State.STOPPED
    runs.stop(first)
    assert wait(runs, third).state is State.DONE
    assert not (runs.folder / second / "checkpoint.safetensors").exists()


def test_the_prior_is_loaded_once(runs: Runs, prior: str, finished: str) -> None:
    loaded = runs._loaded
    assert wait(runs, runs.submit(small(prior, "a blue bear"))).state is State.DONE
    assert loaded is not None
    assert runs._loaded is not None
    assert runs._loaded[1] is loaded[1]


def test_an_edit_starts_from_a_finished_run(runs: Runs, prior: str, finished: str) -> None:
    order = Order(
        "a blue mug", recipe="toybox-dds", prior=prior, source=finished,
        settings=("training.steps=2", "export.grid=16", "export.faces=300", "export.texture=64", "export.refine=0",
                  "export.level=5.0", "export.frames=2", "export.size=32", "prior.cache_embeddings=false",
                  "training.milestones={starts=[0.0], sizes=[16], views=[1]}"),
    )  # fmt: skip
    name = runs.submit(order)
    assert wait(runs, name).state is State.DONE, runs.snapshot(name).error
    table = tomllib.loads((runs.folder / name / "recipe.toml").read_text())
    assert table["edit"] == {"run": str(runs.folder / finished), "prompt": "a red mug", "masked": False}


def test_export_again_with_fewer_faces(runs: Runs, prior: str) -> None:
    name = runs.submit(small(prior, seed=21))
    wait(runs, name)
    before = json.loads((runs.folder / name / "metrics.json").read_text())["faces"]
    runs.export(name, ["export.faces=100"])
    assert wait(runs, name).state is State.DONE
    assert json.loads((runs.folder / name / "metrics.json").read_text())["faces"] <= 100 < before


def test_a_conversion_is_a_run_of_its_own_that_says_what_it_kept(runs: Runs, finished: str) -> None:
    name = runs.convert(finished, "voxel", CONVERSION, by="pvd")
    assert name == f"{finished}-voxel-field"
    assert runs.snapshot(name).title == "a red mug as voxel field"
    assert wait(runs, name).state is State.DONE, runs.snapshot(name).error
    told = metrics(runs.folder / name)
    assert told["route"] == ["hash_field", "voxel_field"]
    assert len(told["convert_psnr"]) == 10
    assert {past.name: past.title for past in runs.history()}[name] == "a red mug as voxel field"
    again = runs.convert(finished, "voxel", CONVERSION, by="pvd")
    assert again == f"{finished}-voxel-field-2"
    runs.stop(again)
    wait(runs, again)
    assert runs.resume(again) == again
    assert wait(runs, again).state is State.DONE, runs.snapshot(again).error
    assert digest(runs.folder / again / "asset.glb") == digest(runs.folder / name / "asset.glb")


@pytest.mark.parametrize(
    ("to", "setting", "words"),
    [("voxl", "", "did you mean 'voxel_field'"), ("voxel", "shape.resolutions=[4000]", "at most 256"),
     ("tet_mesh", "shape.resolution=300", "at most 128"), ("vm", "shape.resolution=300", ""),
     ("voxel", "training.steps=3", "shape, converter, export"), ("voxel", "shape.resolutions=[3", "resolutions"),
     ("voxel", "shape.type=/etc", "no paths"), ("voxel", "shape=3", "shape.KEY=VALUE"),
     ("voxel", "converter.steps=3", "--by"), ("", "", "unknown kind")],
)  # fmt: skip
def test_a_bad_conversion_is_refused_before_it_waits(runs: Runs, finished: str, to: str, setting: str, words: str):
    before = set(runs.folder.iterdir())
    if not words:
        name = runs.convert(finished, to, [setting])
        runs.stop(name)
        wait(runs, name)
        return
    with pytest.raises(ValueError, match=words):
        runs.convert(finished, to, [setting] if setting else [])
    assert set(runs.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("setting", "words"),
    [("training.steps=3", "only export settings"), ("export.grid=100000", "at most 512"), ("export.fases=3", "faces")],
)
def test_a_bad_export_is_refused_before_it_waits(runs: Runs, finished: str, setting: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        runs.export(finished, [setting])


def test_a_format_whose_library_is_missing_is_refused_before_it_waits(
    runs: Runs, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An entry of None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.delitem(sys.modules, "dreamkit.export.usd", raising=False)
    before = set(runs.folder.iterdir())
    for attempt in (runs.export, lambda name, settings: runs.convert(name, "voxel", settings)):
        with pytest.raises(ValueError, match=r"dreamkit\[usd\]"):
            attempt(finished, ["export.usdz=true"])
    assert set(runs.folder.iterdir()) == before


def test_an_unfinished_run_can_be_neither_edited_nor_exported(runs: Runs, prior: str) -> None:
    blocker = runs.submit(small(prior, steps=20, seed=31))
    name = runs.submit(small(prior, seed=32))
    for attempt in (lambda: runs.export(name, []), lambda: runs.submit(Order("a blue mug", "toybox-dds", source=name))):
        with pytest.raises(ValueError, match="not finished"):
            attempt()
    with pytest.raises(ValueError, match="not at rest"):
        runs.resume(name)
    runs.stop(name)
    runs.stop(blocker)
    wait(runs, blocker)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../runs", "/etc", "a/b", "a\\b", ".hidden", "nothing", "a" * 200, "a\0b", "é", "%2e%2e"]
)
def test_names_lead_nowhere_else(runs: Runs, finished: str, name: str) -> None:
    (runs.folder / ".hidden").mkdir(exist_ok=True)
    for attempt in (runs.snapshot, runs.stop, runs.resume, lambda given: runs.export(given, []),
                    lambda given: runs.convert(given, "voxel")):  # fmt: skip
        with pytest.raises(UnknownRun):
            attempt(name)


def test_a_link_out_of_the_folder_is_no_run(runs: Runs, finished: str, tmp_path: Path) -> None:
    shutil.copytree(runs.folder / finished, tmp_path / "elsewhere")
    (runs.folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnknownRun):
        runs.snapshot("link")
    assert "link" not in [past.name for past in runs.history()]


def test_a_server_that_comes_back_knows_its_runs(runs: Runs, prior: str, tmp_path: Path, finished: str) -> None:
    """Closing stops what runs and what waits; a new server shows both, and goes on with them."""
    first = Runs(tmp_path, priors=(prior,))
    shutil.copytree(runs.folder / finished, tmp_path / finished)
    working, waiting = first.submit(small(prior, steps=30)), first.submit(small(prior, "a blue mug"))
    wait_for_step(first, working, 3)
    first.close()
    second = Runs(tmp_path, priors=(prior,))
    try:
        assert second.snapshot(finished).state is State.DONE
        assert second.snapshot(working).state is State.STOPPED
        assert second.snapshot(waiting).title == "a blue mug"
        second.resume(waiting)
        assert wait(second, waiting).state is State.DONE
    finally:
        second.close()


def test_a_full_queue_says_so_and_leaves_no_folder(tmp_path: Path, prior: str) -> None:
    runs = Runs(tmp_path, priors=(prior,), longest=0)
    try:
        with pytest.raises(TooBusy, match="waiting already"):
            runs.submit(small(prior))
        assert list(tmp_path.iterdir()) == []
    finally:
        runs.close()


def test_a_damaged_folder_is_left_out_of_the_history(runs: Runs, finished: str) -> None:
    for name, content in (("broken-1", "no [toml"), ("broken-2", "seed = 1"), ("broken-3", 'prompt = "a"\nseed = []')):
        (runs.folder / name).mkdir()
        (runs.folder / name / "recipe.toml").write_text(content)
        with pytest.raises(ValueError, match=r"recipe|TOML|Expected|seed"):
            runs.snapshot(name)
    assert not [past for past in runs.history() if past.name.startswith("broken")]
