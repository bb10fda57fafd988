"""The loop: it optimises, resumes to the last bit, and survives NaN."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import Fault, small_distiller, small_plan, small_scene

from dreamkit.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_checkpoint,
    save_checkpoint,
)
from dreamkit.training.loop import Diverged, _advance, train
from dreamkit.training.run import Run


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_sds_paints_the_scene_in_the_priors_colour() -> None:
    """A prior of orange pictures turns a grey blob orange: mean colour error falls by half or more."""
    scene, distiller = small_scene(), small_distiller()
    cameras = distiller.cameras.sample(4, 16, 16, torch.Generator().manual_seed(9))
    orange = torch.tensor([0.9, 0.5, 0.1])

    def error() -> float:
        view = scene.render(cameras)
        solid = view.alpha.squeeze(-1) > 0.8
        return float((view.color.detach()[solid] - orange).abs().mean())

    before = error()
    for _ in train(scene, distiller, small_plan(steps=60, every=60)):
        pass
    # Measured: 0.33 before, 0.07 after.
    assert error() < 0.5 * before


def test_steps_count_from_one_to_total_and_preview_where_asked() -> None:
    steps = list(train(small_scene(), small_distiller(), small_plan()))
    assert [step.index for step in steps] == list(range(1, 13))
    assert [step.index for step in steps if step.preview is not None] == [5, 10, 12]
    assert {"guidance", "opacity", "sparsity", "opaque"} <= set(steps[0].metrics)


def test_previews_show_normals_and_change_nothing() -> None:
    """Normals are rendered for the previews alone; a run that nobody looks at ends in the same bits."""
    watched, alone = small_scene(), small_scene()
    steps = list(train(watched, small_distiller(), replace(small_plan(), preview_every=1)))
    list(train(alone, small_distiller(), replace(small_plan(), preview_every=0)))
    assert states_equal(watched, alone)
    preview = steps[0].preview
    assert preview is not None
    assert preview.normal is not None
    assert not preview.normal.requires_grad
    assert float(preview.normal.norm(dim=-1).max()) > 0.1


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    scenes = [small_scene() for _ in range(3)]
    for scene, seed in zip(scenes, (0, 0, 1), strict=True):
        list(train(scene, small_distiller(), small_plan(), seed=seed))
    assert states_equal(scenes[0], scenes[1])
    assert not states_equal(scenes[0], scenes[2])


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
def test_a_run_that_was_killed_resumes_to_the_last_bit(stop: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, cut, resumed = small_scene(), small_scene(), small_scene()
    list(train(whole, small_distiller(), small_plan()))
    list(itertools.islice(train(cut, small_distiller(), small_plan(), path=path), stop))
    list(train(resumed, small_distiller(), small_plan(), path=path, resume=True))
    assert states_equal(whole, resumed)


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    done, again = small_scene(), small_scene()
    list(train(done, small_distiller(), small_plan(), path=path))
    assert list(train(again, small_distiller(), small_plan(), path=path, resume=True)) == []
    assert states_equal(done, again)


def test_nan_is_never_applied_and_the_rollback_is_told(tmp_path: Path) -> None:
    scene = small_scene()
    steps = list(train(scene, small_distiller(Fault(chance=0.15)), small_plan(steps=16)))
    notes = [step.note for step in steps if step.note]
    assert notes
    assert all("fresh random numbers" in note for note in notes)
    assert all(math.isfinite(step.loss) for step in steps if step.note is None)
    assert steps[-1].index == 16
    assert all(parameter.isfinite().all() for parameter in scene.parameters())


def test_a_checkpoint_can_be_returned_to_twice() -> None:
    """The optimiser changes its state in place; what it was given back belonged to the checkpoint."""
    run = Run(small_scene(), small_distiller(), small_plan(steps=8), seed=0)
    for _ in range(2):
        assert _advance(run) is not None
    good = run.checkpoint()
    before = {name: value.clone() for name, value in good.tensors.items()}
    run.restore(good)
    for _ in range(2):
        assert _advance(run) is not None
    assert all(torch.equal(value, before[name]) for name, value in good.tensors.items())


def test_a_run_that_always_fails_gives_up_and_says_what_to_try() -> None:
    with pytest.raises(Diverged, match="learning rates"):
        list(train(small_scene(), small_distiller(Fault(always=True)), small_plan()))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    list(itertools.islice(train(small_scene(), small_distiller(), small_plan(), path=path, seed=3), 5))
    with pytest.raises(DamagedCheckpoint, match="seed=3"):
        list(train(small_scene(), small_distiller(), small_plan(), path=path, resume=True, seed=4))


def test_checkpoints_return_what_was_saved(tmp_path: Path) -> None:
    saved = Checkpoint({"a/b": torch.arange(5), "c": torch.rand(2, 3)}, {"step": "7"})
    save_checkpoint(tmp_path / "x.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.facts == saved.facts
    assert torch.equal(loaded.part("a")["b"], torch.arange(5))
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damage_is_noticed(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, Checkpoint({"a": torch.rand(100)}, {"step": "7"}))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-10] ^= 0xFF
    path.write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[damage])
    with pytest.raises(DamagedCheckpoint, match="Delete it to start afresh"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dreamkit.training.checkpoint as module

    path = tmp_path / "x.safetensors"
    save_checkpoint(path, Checkpoint({"a": torch.zeros(3)}, {}))

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, Checkpoint({"a": torch.ones(3)}, {}))
    assert torch.equal(load_checkpoint(path).tensors["a"], torch.zeros(3))
