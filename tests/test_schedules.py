"""Ramps, breakpoints and milestones."""

import math

import pytest

from dreamkit.schedules import Milestones, Ramp, from_breakpoints, value_at


@pytest.mark.parametrize("shape", ["linear", "sqrt", "cosine", "exponential"])
def test_ramps_meet_their_ends_and_are_monotone(shape):
    ramp = Ramp(1.0, 5.0, 0.2, 0.8, shape)
    values = [ramp(i / 100) for i in range(101)]
    assert values[:21] == [1.0] * 21
    assert values[80:] == pytest.approx([5.0] * 21)
    assert values == sorted(values)


def test_ramp_midpoints_follow_their_shapes():
    middle = {shape: Ramp(1.0, 4.0, shape=shape)(0.5) for shape in ("linear", "sqrt", "cosine", "exponential")}
    assert middle == pytest.approx({"linear": 2.5, "sqrt": 1 + 3 * math.sqrt(0.5), "cosine": 2.5, "exponential": 2.0})


def test_a_step_is_a_ramp_of_no_length():
    step = Ramp(0.0, 1.0, 0.5, 0.5)
    assert (step(0.499), step(0.5)) == (0.0, 1.0)


def test_numbers_are_schedules():
    assert value_at(3.0, 0.7) == 3.0


def test_breakpoints_read_the_notation_of_card_0_6():
    schedule = from_breakpoints([100.0, 1.0, 3.0, 200.0], 400)
    assert [value_at(schedule, step / 400) for step in (0, 100, 150, 200, 400)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert from_breakpoints([1.0, 3.0, 200.0], 400) == Ramp(1.0, 3.0, 0.0, 0.5)


@pytest.mark.parametrize("points", [[1.0], [1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_breakpoints_of_another_length_are_refused(points):
    with pytest.raises(ValueError, match="breakpoint schedule"):
        from_breakpoints(points, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 0.8, 0.2), "begin <= finish"),
        ((0.0, 1.0, 0.0, 1.0, "square"), "unknown ramp shape"),
        ((0.0, 1.0, 0.0, 1.0, "exponential"), "positive ends"),
    ],
)
def test_ramps_without_meaning_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ramp(*arguments)


def test_t14_11_a_milestone_uses_its_own_entry():
    milestones = Milestones((0.0, 0.2, 0.5), (64, 256, 512), (8, 4, 1))
    assert milestones.at(0.0) == (64, 8)
    assert milestones.at(0.2 - 1e-9) == (64, 8)
    assert milestones.at(0.2) == (256, 4)
    assert milestones.at(0.5) == milestones.at(1.0) == (512, 1)


@pytest.mark.parametrize("starts", [(), (0.1,), (0.0, 0.5, 0.2)])
def test_milestones_that_do_not_start_at_zero_or_grow_are_refused(starts):
    with pytest.raises(ValueError, match="start at 0"):
        Milestones(starts, (64,) * len(starts), (1,) * len(starts))


def test_milestones_need_as_many_sizes_as_starts():
    with pytest.raises(ValueError, match="2 starts, 1 sizes"):
        Milestones((0.0, 0.5), (64,), (1, 1))
