"""What visitors may not ask for, and what they are told."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamkit.construct import RecipeError
from dreamkit.priors.locate import locate
from dreamkit.priors.vocabulary import Vocabulary
from dreamkit.service.order import LARGEST_UPLOAD, Order

PRIORS = ("toybox",)
SETTING = r"[a-z]{1,8}\.[a-z]{1,8}=.{0,20}"


def test_an_order_becomes_a_recipe() -> None:
    recipe = Order(" a red mug ", seed=5, settings=("training.steps=7",)).checked(PRIORS)
    assert (recipe.prompt.text, recipe.seed, recipe.training.steps) == ("a red mug", 5, 7)


def test_the_recipe_of_a_run_can_be_uploaded_again() -> None:
    text = Order("a red mug", seed=5, settings=("training.steps=7",)).checked(PRIORS).text()
    again = Order("a blue mug", seed=6, upload=text.encode()).checked(PRIORS)
    assert (again.prompt.text, again.seed, again.training.steps) == ("a blue mug", 6, 7)


def test_an_uploaded_recipe_may_extend_one_in_the_box() -> None:
    recipe = Order("a red mug", upload=b'extends = "toybox-csd"\n[training]\nsteps = 9').checked(PRIORS)
    assert type(recipe.guidance).__name__ == "CSD"
    assert recipe.training.steps == 9


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order(""), "prompt is empty"),
        (Order(" \t "), "prompt is empty"),
        (Order("a mug " * 2000), "at most 500"),
        (Order("a red\0mug"), r"U\+0000"),
        (Order("a red mug\u202e"), r"U\+202E"),
        (Order("a red mugg"), "'mug'"),
        (Order("<script>alert(1)</script>"), "does not know 'script'"),
        (Order("a red mug", seed=-1), "seed"),
        (Order("a red mug", seed=2**70), "seed"),
        (Order("a red mug", recipe="toybx"), "did you mean 'toybox'"),
        (Order("a red mug", recipe="../secret.toml"), "in the box"),
        (Order("a red mug", recipe="/etc/passwd"), "in the box"),
        (Order("a red mug", prior="nobody/nothing"), "this server offers toybox"),
        (Order("a red mug", prior="/etc"), "this server offers"),
        (Order("a red mug", settings=("prior.model=sd21-base",)), "this server offers"),
        (Order("a red mug", settings=("prior.revision=../../x",)), "no paths"),
        (Order("a red mug", settings=("training.stesp=3",)), "did you mean 'steps'"),
        (Order("a red mug", settings=("training",)), "key=value"),
        (Order("a red mug", settings=("training.steps=1000000",)), "at most 20,000"),
        (
            Order("a red mug", settings=("training.milestones={starts=[0.0], sizes=[9999], views=[1]}",)),
            "at most 1,024",
        ),
        (Order("a red mug", settings=("shape.levels.log2_table_size=40",)), "at most 22"),
        (Order("a red mug", settings=("prompt.scale=nan",)), "at most"),
        (Order("a red mug", settings=("edit.run=/etc",)), "no paths"),
        (Order("a red mug", settings=("x=" + "[" * 5000,)), "too deeply|no paths"),
        (Order("a red mug", recipe="toybox-dds"), "Edit tab"),
        (Order("a red mug", upload=b"\xff\xfe"), "not a TOML file"),
        (Order("a red mug", upload=b"seed ="), "not a TOML file"),
        (Order("a red mug", upload=b"[" * 20_000), "not a TOML file|too deeply"),
        (Order("a red mug", upload=b"a=" + b"[" * 20_000), "too deeply|not a TOML file"),
        (Order("a red mug", upload=b" " * (LARGEST_UPLOAD + 1)), "at most 65536 bytes"),
        (Order("a red mug", upload=b'extends = "/etc/hostname.toml"'), "in the box"),
        (Order("a red mug", upload=b'extends = "..\\\\x.toml"'), "in the box"),
        (Order("a red mug", upload=b"extends = 3"), "extends"),
        (Order("a red mug", upload=b'extends = "toybox"\n[prior]\nmodel = "/root"'), "this server offers"),
    ],
)
def test_a_bad_order_is_told_what_is_wrong(order: Order, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        order.checked(PRIORS)


def test_a_word_that_names_a_folder_here_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").mkdir()
    with pytest.raises(RecipeError, match="no paths"):
        Order("a red mug", settings=("prior.revision=plain",)).checked(PRIORS)


def test_a_word_too_long_for_a_path_is_none() -> None:
    """Found by fuzzing: the file system's own "File name too long" came out."""
    word = "a" * 400
    recipe = Order("a red mug", settings=(f"prior.revision={word}",)).checked(PRIORS)
    assert recipe.prior.arguments["revision"] == word


def test_a_recipe_that_makes_something_new_cannot_edit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one that edits"):
        Order("a red mug").checked(PRIORS, tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(max_size=30),
    lines=st.lists(st.one_of(st.text(max_size=40), st.from_regex(SETTING, fullmatch=True)), max_size=3),
    upload=st.one_of(st.just(b""), st.binary(max_size=80), st.text(max_size=80).map(str.encode)),
)  # fmt: skip
def test_any_input_gives_a_recipe_or_a_sentence(prompt: str, lines: list[str], upload: bytes) -> None:
    said = "a recipe"
    try:
        Order(prompt, upload=upload, settings=tuple(lines)).checked(PRIORS)
    except ValueError as error:
        said = str(error)
    assert said


def test_every_suggestion_is_understood(generator: torch.Generator) -> None:
    vocabulary = Vocabulary.of(locate("toybox"))
    assert vocabulary is not None
    ideas = vocabulary.suggest(30, generator)
    vocabulary.check(ideas, "toybox")
    kinds = [idea.split()[-1] for idea in ideas]
    assert len(set(kinds)) == 30
    assert all(idea.startswith("an ") == (idea.split()[1][0] in "aeiou") for idea in ideas)
    assert len(vocabulary.suggest(1000, generator)) == len(vocabulary.kinds)
