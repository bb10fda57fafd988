"""Packs of tasks: which are packed, and that packing changes nothing but rounding."""

import os
import signal
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_batches import TINY, checksums, plan, worker_at

from dreamkit.batch.pack import packs_of, perform_pack
from dreamkit.batch.perform import LoadedPrior
from dreamkit.batch.pool import ATTEMPTS, LocalPool, Places, try_again
from dreamkit.batch.prompt_file import PromptLine
from dreamkit.batch.result import Result
from dreamkit.batch.task import Defaults, Task, plan_tasks
from dreamkit.rendering import Step
from dreamkit.training.checkpoint import load_checkpoint

PROMPTS = ("a red mug", "a red dragon", "a blue cat")


def names(packs: Sequence[Sequence[Task]]) -> list[list[str]]:
    return [[task.prompt for task in pack] for pack in packs]


def test_packs_hold_tasks_of_one_recipe_in_the_order_of_the_file(tmp_path: Path) -> None:
    longer = ("training.steps=9",)
    lines = [PromptLine(n, f"a mug {n}", seed=n, settings=longer if n in (1, 4) else ()) for n in range(7)]
    tasks, _ = plan_tasks(lines, Defaults(settings=TINY), tmp_path)
    assert names(packs_of(tasks, 3)) == [
        ["a mug 0", "a mug 2", "a mug 3"], ["a mug 1", "a mug 4"], ["a mug 5", "a mug 6"],
    ]  # fmt: skip
    assert names(packs_of(tasks, 1)) == [[task.prompt] for task in tasks]
    assert packs_of([], 4) == []
    with pytest.raises(ValueError, match="at least one"):
        packs_of(tasks, 0)


def test_edits_of_different_runs_are_packed(tmp_path: Path) -> None:
    lines = [PromptLine(n, "a blue mug", recipe="toybox-dds", settings=(f"edit.run=outputs/{n}",)) for n in range(2)]
    tasks, refused = plan_tasks(lines, Defaults(), tmp_path)
    assert not refused
    assert len(packs_of(tasks, 2)) == 1


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three prompts in one pack, the middle one refused by the prior."""
    out = tmp_path_factory.mktemp("packed")
    heard = list(perform_pack(plan(out, *PROMPTS), LoadedPrior("cpu")))
    results = {task.prompt: said for task, said in heard if isinstance(said, Result)}
    assert [results[prompt].status for prompt in PROMPTS] == ["done", "failed", "done"]
    assert "dragon" in results["a red dragon"].error
    # The prior was loaded once, by whoever came first.
    assert sorted(results[prompt].numbers["prior_seconds"] > 0 for prompt in (PROMPTS[0], PROMPTS[2])) == [False, True]
    steps = [task.prompt for task, said in heard if isinstance(said, Step) and said.stage == "optimise"]
    assert steps == ["a red mug", "a blue cat"] * 6
    return out


def test_a_pack_makes_what_its_tasks_make_alone(packed: Path, tmp_path: Path) -> None:
    for task in plan(tmp_path, PROMPTS[0], PROMPTS[2]):
        list(perform_pack([task], LoadedPrior("cpu")))
        check_alike(Path(task.folder), packed / Path(task.folder).name)


def check_alike(mine: Path, theirs: Path) -> None:
    """What the checkpoints of two runs hold, after six steps."""
    one, two = (load_checkpoint(folder / "checkpoint.safetensors") for folder in (mine, theirs))
    assert one.facts == two.facts
    assert torch.equal(one.tensors["generator"], two.tensors["generator"])
    for name, value in one.part("scene").items():
        # Measured 0 with two assets on this processor; an Adam step of the encoding is 0.02.
        torch.testing.assert_close(two.tensors[f"scene/{name}"], value, atol=1e-3, rtol=0)


def test_a_pack_whose_worker_died_goes_on_one_by_one(tmp_path: Path) -> None:
    first, second = plan(tmp_path, "a red mug", "a blue cat")
    places: Places = {first.key: (0, first), second.key: (1, second)}
    attempts, waiting = Counter({second.key: ATTEMPTS - 1}), deque([(first, second)])
    events = list(try_again(places, attempts, waiting, "killed by signal 9"))
    assert [event.place for event in events] == [0, 1]
    assert isinstance(events[0].said, Step)
    assert isinstance(events[1].said, Result)
    assert list(waiting) == [(first,), (first, second)]


@pytest.mark.slow
@pytest.mark.timeout(900)  # A busy machine may take minutes to start a worker.
def test_workers_make_packs(packed: Path, tmp_path: Path) -> None:
    """Through a real worker: the bytes of the pack that was made here."""
    events = list(LocalPool(1, tmp_path / "workers.log", pack=3).run(plan(tmp_path, *PROMPTS)))
    assert {event.place for event in events} == {0, 1, 2}
    assert sum(isinstance(event.said, Result) for event in events) == 3
    assert checksums(tmp_path) == checksums(packed)


@pytest.mark.slow
@pytest.mark.timeout(900)  # A busy machine may take minutes to start a worker.
def test_a_pack_that_is_killed_goes_on_from_the_checkpoint_of_each(packed: Path, tmp_path: Path) -> None:
    """kill -9 in the middle: both are made, as if nothing had been; each from its own checkpoint, alone."""
    tasks, events = plan(tmp_path, PROMPTS[0], PROMPTS[2]), []
    for event in LocalPool(1, tmp_path / "workers.log", pack=2).run(tasks):
        events.append(event)
        if isinstance(event.said, Step) and (event.place, event.said.index) == (1, 3):
            os.kill(worker_at(Path(event.task.folder)), signal.SIGKILL)
    assert [event.said.status for event in events if isinstance(event.said, Result)] == ["done", "done"]
    died = [index for index, event in enumerate(events) if isinstance(event.said, Step) and _of_death(event.said)]
    assert len(died) == 2
    for task in tasks:
        later = [event.said for event in events[died[1] :] if event.task.key == task.key]
        # Checkpoints are made every second step.
        assert next(said.index for said in later if isinstance(said, Step) and said.index > 0) in (3, 5)
        check_alike(Path(task.folder), packed / Path(task.folder).name)


def _of_death(step: Step) -> bool:
    return step.note is not None and "killed by signal 9" in step.note
