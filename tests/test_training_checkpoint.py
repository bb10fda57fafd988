"""Checkpoints under damage, kill -9 and full disks: what was done is there, and what is lost is told."""

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from small_runs import small_distiller, small_plan, small_scene

from dreamkit.guidance.sds import SDS
from dreamkit.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_checkpoint,
    load_latest,
    previous,
    save_checkpoint,
)
from dreamkit.training.lock import FolderBusy, exclusive
from dreamkit.training.loop import train


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "flipped":
        content[-10] ^= 0xFF
    path.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[how])


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "missing"])
def test_the_previous_checkpoint_serves_where_the_last_is_damaged(how: str, tmp_path: Path) -> None:
    """`missing` is a crash between the two renames; the result is that of a run which was never disturbed."""
    path = tmp_path / "checkpoint.safetensors"
    whole, cut, resumed = small_scene(), small_scene(), small_scene()
    list(train(whole, small_distiller(), small_plan()))
    list(itertools.islice(train(cut, small_distiller(), small_plan(), path=path), 9))
    assert load_checkpoint(path).facts["step"] == "8"
    damage(path, how)
    steps = list(train(resumed, small_distiller(), small_plan(), path=path, resume=True))
    notes = [step.note for step in steps if step.note]
    # A crash between renames has damaged nothing that a person should look after.
    assert len(notes) == (how != "missing")
    assert all("going on from the previous checkpoint, step 4" in note for note in notes)
    one, two = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    for step in range(2):
        save_checkpoint(path, Checkpoint({"a": torch.rand(100)}, {"step": str(step)}))
    damage(path, "cut")
    assert load_latest(path)[0] is not None
    with pytest.raises(DamagedCheckpoint, match="resuming the run goes on from there"):
        load_checkpoint(path)
    damage(previous(path), "flipped")
    with pytest.raises(DamagedCheckpoint, match="Delete it to start afresh"):
        load_latest(path)


def forked(work: Callable[[], object]) -> int:
    """The process id of a child that does the work; cheaper than a new Python."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child


def test_kill_9_while_a_checkpoint_is_written_leaves_a_whole_one(tmp_path: Path) -> None:
    path, draw = tmp_path / "checkpoint.safetensors", random.Random(0)
    save_checkpoint(path, Checkpoint({"a": torch.zeros(50_000)}, {"step": "0"}))

    def write_for_ever() -> None:
        for step in itertools.count(1):
            save_checkpoint(path, Checkpoint({"a": torch.full((50_000,), float(step))}, {"step": str(step)}))

    reached = []
    for _ in range(12):
        child = forked(write_for_ever)
        time.sleep(draw.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        stored, note = load_latest(path)
        assert note is None
        assert stored is not None
        assert stored.tensors["a"].unique().item() == float(stored.facts["step"])
        reached.append(stored.facts["step"])
    assert len(set(reached)) > 1, "no child lived long enough to write anything"


def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    def hold() -> None:
        with exclusive(tmp_path):
            (tmp_path / "held").touch()
            time.sleep(60)

    child = forked(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(FolderBusy, match="--out DIR"), exclusive(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "run.lock").exists()
    with exclusive(tmp_path):
        pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_checkpoint(small_disk: Path) -> None:
    path = small_disk / "checkpoint.safetensors"
    save_checkpoint(path, Checkpoint({"a": torch.zeros(1000)}, {"step": "1"}))
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(path, Checkpoint({"a": torch.zeros(2**20)}, {"step": "2"}))
    assert caught.value.filename == str(path)
    assert load_latest(path)[0].facts["step"] == "1"
    assert [entry.name for entry in small_disk.iterdir()] == [path.name]


def test_a_read_only_folder_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only file system") as caught, exclusive(small_disk):
        pass
    assert str(small_disk) in str(caught.value.filename)


@dataclass(frozen=True)
class BrokenGradient(SDS):
    """SDS whose loss is finite and whose image gradient is not: a kernel that divides by zero on the way back."""

    calls: list[int] = field(default_factory=list)

    def on_image_gradient(self, gradient, opacity):
        self.calls.append(len(self.calls))
        return gradient * float("nan") if len(self.calls) % 3 == 0 else gradient


def test_nan_in_the_gradient_alone_is_never_applied() -> None:
    scene = small_scene()
    steps = list(train(scene, small_distiller(BrokenGradient()), small_plan(steps=8, every=1)))
    assert [step.note for step in steps if step.note], "the fault was never injected"
    assert steps[-1].index == 8
    assert all(parameter.isfinite().all() for parameter in scene.parameters())
