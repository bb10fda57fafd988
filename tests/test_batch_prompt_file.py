"""Prompt files: three formats, one meaning; what is wrong with a line stays with that line."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamkit.batch.prompt_file import PromptLine, read_prompts

PROMPTS = Path(__file__).parents[1] / "prompts"


def read(folder: Path, text: str, ending: str = "txt") -> tuple[PromptLine, ...]:
    path = folder / f"prompts.{ending}"
    path.write_bytes(text.encode())
    return read_prompts(path)


def test_text_has_comments_blank_lines_and_options_of_a_line(tmp_path: Path) -> None:
    text = "\ufeff# mine\r\n\r\n  a red mug\r\n"
    text += "an owl's nest --seed 3 --steps=7 --set a.b='x y' --set c.d=2 --recipe toybox-vsd\n"
    plain, rich = read(tmp_path, text)
    assert plain == PromptLine(3, "a red mug")
    assert rich == PromptLine(4, "an owl's nest", "toybox-vsd", None, 3, ("a.b=x y", "c.d=2", "training.steps=7"))


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    text = read(tmp_path, "a red mug --seed 3 --steps 5 --set prompt.scale=20\na cat")
    table = read(tmp_path, 'prompt,seed,steps,prompt.scale\n"a red mug",3,5,20\na cat,,,\n', "csv")
    objects = read(tmp_path, '{"prompt": "a red mug", "seed": 3, "steps": 5, "prompt.scale": 20}\n"a cat"\n', "jsonl")
    for lines in (text, table, objects):
        assert [(line.prompt, line.seed) for line in lines] == [("a red mug", 3), ("a cat", None)]
        assert sorted(lines[0].settings) == ["prompt.scale=20", "training.steps=5"]
        assert not lines[1].settings


@pytest.mark.parametrize(
    ("ending", "line", "words"),
    [
        ("txt", "a mug --sede 3", "did you mean 'seed'"),
        ("txt", "a mug --seed", "--seed needs a value"),
        ("txt", "a mug --seed three", "expected a whole number"),
        ("txt", "a mug --seed -1", "expected a whole number"),
        ("txt", "a mug --seed 1 --seed 2", "given twice"),
        ("txt", "a mug --seed 1 2", "expected an option"),
        ("txt", "a mug --set 'a.b", "No closing quotation"),
        ("txt", "a mug --seed 99999999999999999999", "from 0 to 2^62"),
        ("txt", "--seed 3", "the prompt is empty"),
        ("csv", "prompt,seed\na mug,3,4", "more cells"),
        ("jsonl", "[1]", "expected an object"),
        ("jsonl", "{", "not JSON"),
        ("jsonl", "[" * 100_000, "not JSON"),
        ("jsonl", '{"prompt": 3}', "expected a text"),
        ("jsonl", '{"prompt": "a mug", "seed": true}', "expected a whole number"),
        ("jsonl", '{"prompt": "a mug", "set": [1]}', "key=value"),
        ("jsonl", '{"seed": 3}', "the prompt is empty"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(ending: str, line: str, words: str, tmp_path: Path) -> None:
    (bad,) = read(tmp_path, line, ending)
    assert words in bad.error


def test_a_bad_line_leaves_the_others_alone(tmp_path: Path) -> None:
    lines = read(tmp_path, "a red mug\na mug --sede 3\na blue cat\n")
    assert [bool(line.error) for line in lines] == [False, True, False]
    assert [line.number for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "ending", "words"),
    [
        (b"\xff\xfe\x00", "txt", "not UTF-8"),
        (b"# nothing\n\n", "txt", "holds no prompts"),
        (b"text\na mug\n", "csv", "`prompt`"),
        (b"prompt,prompt\na,b\n", "csv", "once each"),
        (b'prompt\n"a mug', "csv", "not a CSV file"),
        (b"", "jsonl", "holds no prompts"),
    ],
)
def test_a_file_that_is_no_prompt_file_is_refused(content: bytes, ending: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / f"prompts.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_prompts(path)


def test_line_separators_of_unicode_stay_in_a_prompt(tmp_path: Path) -> None:
    (line,) = read(tmp_path, "a\u2028mug\x0b!")
    assert line.prompt == "a\u2028mug\x0b!"


def test_the_prompt_files_in_the_box_are_as_they_say() -> None:
    toybox = read_prompts(PROMPTS / "toybox.txt")
    assert len({line.prompt for line in toybox}) == len(toybox) >= 30
    assert len(read_prompts(PROMPTS / "general.txt")) >= 30
    stress = read_prompts(PROMPTS / "stress.jsonl")
    assert [line.error for line in stress if line.error] == ["the prompt is empty"]
    assert not [line.error for line in (*toybox, *read_prompts(PROMPTS / "general.txt")) if line.error]


# A real number of examples is run by benchmarks/fuzz; these keep it honest from day to day.
@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
       ending=st.sampled_from(["txt", "csv", "jsonl"]))  # fmt: skip
def test_any_bytes_are_read_or_refused_in_words(content: bytes, ending: str, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz.{ending}"
    path.write_bytes(content)
    try:
        lines = read_prompts(path)
    except ValueError as error:
        lines, refusal = (), str(error)
    assert lines or str(path) in refusal
    assert all(line.error or line.prompt.strip() for line in lines)


@settings(max_examples=100, deadline=None)
@given(prompt=st.text(min_size=1, max_size=80).filter(lambda text: text.strip()), seed=st.integers(0, 2**62 - 1))
def test_jsonl_carries_any_prompt(prompt: str, seed: int, tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "carry.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "seed": seed}) + "\n")
    (line,) = read_prompts(path)
    assert (line.prompt, line.seed, line.error) == (prompt.strip(), seed, "")
