import json
from pathlib import Path

import pytest
import tiny_models

from dreamkit.priors.vocabulary import UnknownWords, Vocabulary, split_words


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    (tmp_path / "vocabulary.json").write_text(json.dumps(tiny_models.VOCABULARY))
    found = Vocabulary.of(tmp_path)
    assert found is not None
    return found


@pytest.mark.parametrize("prompt", ["a red mug", "A Red MUG, front view!", "  a  (striped)\nbear. ", ""])
def test_known_words_pass_whatever_their_case_and_punctuation(vocabulary: Vocabulary, prompt: str) -> None:
    vocabulary.check([prompt], "toybox")


def test_an_unknown_word_is_answered_with_what_is_known(vocabulary: Vocabulary) -> None:
    with pytest.raises(UnknownWords) as caught:
        vocabulary.check(["a red mug", "a rad elephant, rad"], "toybox")
    said = str(caught.value)
    assert "'toybox' does not know 'rad', 'elephant' " in said
    assert "Instead of 'rad' it knows 'red'" in said
    assert "bear, mug" in said
    assert "red, blue" in said
    assert "--prior" in said
    assert isinstance(caught.value, ValueError)


def test_words_keep_their_inner_hyphen_and_apostrophe() -> None:
    assert split_words("It's a T-shirt, 'red'") == ["it's", "a", "t-shirt", "red"]


def test_a_model_without_the_file_takes_any_prompt(tmp_path: Path) -> None:
    assert Vocabulary.of(tmp_path) is None


def test_a_file_with_a_list_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text(json.dumps({"kinds": []}))
    with pytest.raises(ValueError, match=r"vocabulary.json must hold.*missing: colors"):
        Vocabulary.of(tmp_path)
