"""A run by itself, on steps that cost nothing: states, stopping, errors, time left."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from dreamkit.rendering import Rendering, Step
from dreamkit.service.run import Pace, Run, State


def steps(count: int, taken: list[int] | None = None) -> Iterator[Step]:
    for i in range(1, count + 1):
        if taken is not None:
            taken.append(i)
        yield Step(i, count, 1.0 / i)


def test_a_run_ends_done_and_remembers_its_losses() -> None:
    run = Run("a", "a mug", lambda: steps(3))
    assert run.snapshot().state is State.WAITING
    run.carry_out()
    seen = run.snapshot()
    assert (seen.state, seen.index, seen.total) == (State.DONE, 3, 3)
    assert seen.losses == (1.0, 0.5, 1.0 / 3)
    assert not seen.state.is_live


def test_stop_takes_no_step_more_than_the_one_at_work() -> None:
    taken: list[int] = []
    closed: list[bool] = []

    def work() -> Iterator[Step]:
        try:
            for step in steps(1000, taken):
                yield step
                if step.index == 5:
                    run.stop()
        finally:
            closed.append(True)

    run = Run("a", "a mug", work)
    run.carry_out()
    assert run.snapshot().state is State.STOPPED
    assert len(taken) <= 6
    assert closed == [True], "the generator was left open"


def test_a_run_that_is_stopped_while_it_waits_never_begins() -> None:
    taken: list[int] = []
    run = Run("a", "a mug", lambda: steps(3, taken))
    run.stop()
    run.carry_out()
    assert run.snapshot().state is State.STOPPED
    assert taken == []


def test_stopping_shows_at_once() -> None:
    """Also while a long step (loading a prior) is at work."""
    started, go = threading.Event(), threading.Event()

    def work() -> Iterator[Step]:
        started.set()
        go.wait(20)
        yield from steps(3)

    run = Run("a", "a mug", work)
    thread = threading.Thread(target=run.carry_out)
    thread.start()
    started.wait(20)
    run.stop()
    assert run.snapshot().state is State.STOPPING
    go.set()
    thread.join(20)
    assert run.snapshot().state is State.STOPPED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no such word"), "no such word"),
        (OSError("disk full"), "disk full"),
        (ArithmeticError("NaN"), "NaN"),
        (KeyError("surprise"), "unexpected: KeyError"),
        (MemoryError(), "unexpected: MemoryError"),
    ],
)
def test_an_error_ends_the_run_with_its_words(error: Exception, words: str) -> None:
    def work() -> Iterator[Step]:
        yield Step(1, 3, 1.0)
        raise error

    run = Run("a", "a mug", work)
    run.carry_out()
    assert run.snapshot().state is State.FAILED
    assert words in run.snapshot().error


def test_time_left_is_measured_from_the_first_step() -> None:
    """Loading for a minute before step 1 does not count; two seconds a step, six steps to go."""
    pace = Pace()
    assert pace.left(Step(1, 10, 0.0), now=60.0) is None
    assert pace.left(Step(2, 10, 0.0), now=62.0) == pytest.approx(16.0)
    assert pace.left(Step(4, 10, 0.0), now=66.0) == pytest.approx(12.0)


def test_time_left_of_a_resumed_run_counts_its_own_steps() -> None:
    pace = Pace()
    pace.left(Step(101, 200, 0.0), now=0.0)
    assert pace.left(Step(102, 200, 0.0), now=1.0) == pytest.approx(98.0)


def test_steps_that_were_taken_back_leave_a_gap_and_no_picture() -> None:
    nothing = torch.full((1, 4, 4, 1), float("nan"))
    bad = Rendering(nothing.expand(-1, -1, -1, 3), nothing, nothing)
    run = Run("a", "a mug", lambda: iter([Step(1, 2, float("nan"), preview=bad, note="back")]))
    run.carry_out()
    assert str(run.snapshot().losses[0]) == "nan"
    assert run.snapshot().pictures == ()


def test_pictures_stay_until_there_are_newer_ones() -> None:
    image = torch.rand(2, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    view = Rendering(image, image[..., :1], image[..., :1], image - 0.5)
    run = Run("a", "a mug", lambda: iter([Step(1, 2, 1.0, preview=view), Step(2, 2, 1.0)]))
    run.carry_out()
    assert [picture.name for picture in run.snapshot().pictures] == ["render", "normals", "opacity"]
    assert all(picture.png.startswith(b"\x89PNG") for picture in run.snapshot().pictures)


def test_a_coarse_stage_is_optimisation_with_a_pace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse steps of 1 s, fine ones of 10 s: what is left is told by the stage at work."""
    clock = iter([0.0, 1.0, 2.0, 100.0, 110.0])
    monkeypatch.setattr("dreamkit.service.run.time", SimpleNamespace(monotonic=lambda: next(clock)))
    run = Run("a", "a mug", lambda: iter(()))
    for i in (1, 2, 3):
        run._take(Step(i, 3, 1.0, stage="coarse"))
    assert run.snapshot().seconds_left == 0
    for i in (1, 2):
        run._take(Step(i, 4, 1.0, stage="optimise"))
    assert run.snapshot().seconds_left == pytest.approx(20.0)
    assert len(run.snapshot().losses) == 5
