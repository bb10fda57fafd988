"""Whatever a recipe says, it is read or refused in words: RecipeError, and nothing else comes out."""

import tomllib
from contextlib import suppress

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamkit.construct import RecipeError
from dreamkit.recipe import Recipe, load_recipe, parse_recipe
from dreamkit.recipe_file import extend_table, read_table

TOYBOX = tomllib.loads(load_recipe("toybox").text())
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.sampled_from([0, -1, 1e308, float("nan"), float("inf")])
LEAVES = NUMBERS | st.booleans() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "start", "end", "x", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(table: dict, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a nested table, sections included."""
    found = []
    for key, value in table.items():
        found.append((*above, key))
        found += places(value, (*above, key)) if isinstance(value, dict) else []
    return found


def read(table: dict) -> Recipe | None:
    with suppress(RecipeError):
        return parse_recipe(table)
    return None


@settings(max_examples=60, deadline=None)
@example(place=("shape", "levels", "growth"), value=float("inf"))
@example(place=("shape", "levels", "growth"), value=1e308)
@given(place=st.sampled_from(places(TOYBOX)), value=VALUES)
def test_any_value_in_any_place_is_read_or_refused(place: tuple[str, ...], value: object) -> None:
    table = tomllib.loads(tomli_w.dumps(TOYBOX))
    section = table
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    recipe = read(table)
    if recipe is not None:
        again = tomllib.loads(recipe.text())
        assert set(again) == set(TOYBOX)


@settings(max_examples=60, deadline=None)
@given(setting=st.text(max_size=60) | st.builds("{}={}".format, st.sampled_from([".".join(p) for p in places(TOYBOX)]),
                                               st.text(max_size=40)))  # fmt: skip
def test_any_setting_is_read_or_refused(setting: str) -> None:
    with suppress(RecipeError):
        load_recipe("toybox", [setting])


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_read_or_refused(content: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    with suppress(RecipeError):
        read_table(str(path))


def test_deep_nesting_is_refused(tmp_path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(RecipeError, match="not a TOML file"):
        read_table(str(path))
    with pytest.raises(RecipeError):
        load_recipe("toybox", ["prompt.scale=" + "[" * 100_000])


@pytest.mark.parametrize(
    "name", ["[" * 3000, "a" * 300, "a/" + "b" * 300 + ".toml", "a\0b", "~nobody-at-all/x.toml", ""]
)
def test_names_that_no_file_system_takes_are_refused_in_words(name: str) -> None:
    """Found by fuzzing: "File name too long" came out as it was."""
    with pytest.raises(RecipeError, match="recipe"):
        read_table(name)
    with pytest.raises(RecipeError, match="recipe"):
        extend_table({"extends": name})
