"""Plain values to objects and back."""

import pytest

from dreamkit.construct import RecipeError, Spec, options, plain, read_spec, read_value, snake
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.levels import AbstractLevels, Window
from dreamkit.guidance.sds import SDS
from dreamkit.priors.perp_neg import PerpNeg
from dreamkit.priors.shaping import AbstractShaping, Rescaled
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.representations.base import AbstractField
from dreamkit.schedules import Milestones, Ramp, Schedule
from dreamkit.training.plan import TrainingPlan


@pytest.mark.parametrize(
    ("name", "expected"), [("SDS", "sds"), ("HashField", "hash_field"), ("DreamTime", "dream_time")]
)
def test_type_names_are_snake_case(name: str, expected: str) -> None:
    assert snake(name) == expected


def test_a_listing_is_the_menu() -> None:
    assert options(AbstractGuidance)["sds"] is SDS
    assert {"cfg", "apg", "rescaled", "perp_neg"} <= set(options(AbstractShaping))
    assert {"window", "sqrt_anneal", "dream_time"} <= set(options(AbstractLevels))


def test_schedules_are_numbers_or_tables() -> None:
    assert read_value("x", 3, Schedule) == 3.0
    assert read_value("x", {"start": 1, "end": 0.5}, Schedule) == Ramp(1.0, 0.5)


def test_nested_choices_are_constructed() -> None:
    spec = read_spec("shaping", {"type": "rescaled", "inner": {"type": "perp_neg"}}, AbstractShaping)
    assert spec.build() == Rescaled(PerpNeg())


def test_modules_are_made_anew_by_every_build() -> None:
    table = {"type": "volume_renderer", "occupancy": {"grid": 8}}
    spec = read_spec("renderer", table, AbstractRenderer)
    one, two = spec.build(), spec.build()
    assert one.occupancy is not two.occupancy
    assert one.occupancy.grid == 8


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"type": "sdss"}, ["guidance.type", "'sdss'", "did you mean 'sds'"]),
        ({"type": "sds", "wieghting": "sds"}, ["wieghting", "did you mean 'weighting'"]),
        ({"type": "sds", "weighting": 3}, ["guidance.weighting", "expected a text", "3"]),
        ({"type": "sds", "weighting": "nothing"}, ["nothing"]),
        ({}, ["guidance.type"]),
    ],
)
def test_errors_name_place_and_remedy(table: dict, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        read_spec("guidance", table, AbstractGuidance).build()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (True, float, "a number"),
        ("fast", int, "a whole number"),
        (1.5, int, "a whole number"),
        ([1.0], tuple[float, float], "2 values"),
        ({"stert": 1}, Schedule, "start"),
    ],
)
def test_wrong_values_are_refused(value: object, kind: object, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read_value("place", value, kind)  # pyright: ignore[reportArgumentType]


def test_plain_inverts_reading() -> None:
    plan = TrainingPlan(steps=7, milestones=Milestones((0.0, 0.5), (64, 96), (2, 1)))
    assert read_value("training", plain(plan), TrainingPlan) == plan
    levels = Window(0.02, Ramp(0.98, 0.5))
    assert read_spec("levels", plain(levels), AbstractLevels).build() == levels
    spec = Spec(options(AbstractField)["hash_field"], "hash_field", {"hidden": 16})
    assert plain(spec)["hidden"] == 16
    assert read_spec("shape", plain(spec), AbstractField).arguments["hidden"] == 16
