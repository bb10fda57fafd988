"""Prompt files: what to make, one prompt a line, with options of its own where a line needs them.

Text: `a red mug --seed 3 --set prompt.scale=20`; `#` begins a comment line. CSV: a column `prompt`, and columns named
like the options. JSONL: one object (or one quoted prompt) a line, with the same names. Names with a dot are settings;
names that begin with `#` are remarks.
"""

import csv
import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamkit.construct import unknown
from dreamkit.recipe_file import source_settings

OPTIONS = ("prompt", "recipe", "prior", "source", "seed", "steps", "set")
"What a line may say; whatever has a dot in its name is a setting."
_FIRST_OPTION = re.compile(r"(?:^|\s)(?=--[a-z])")


@dataclass(frozen=True)
class PromptLine:
    """One line of a prompt file; `error` says what is wrong with it, where something is."""

    number: int
    prompt: str = ""
    recipe: str | None = None
    prior: str | None = None
    seed: int | None = None
    settings: tuple[str, ...] = ()
    "`key=value`, as after `--set`."
    error: str = ""


def read_prompts(path: Path) -> tuple[PromptLine, ...]:
    """Read a prompt file: CSV and JSONL by their endings, anything else as text.

    A line that cannot be understood says so in its `error`, and does not stop the others. Raises FileNotFoundError,
    and ValueError for a file that is not UTF-8, is no table, or holds no prompts.
    """
    try:
        # Not `utf-8`: Windows editors begin files with a byte order mark. No translation of line ends inside CSV cells.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    reader = {".csv": _rows, ".jsonl": _objects}.get(path.suffix.lower(), _sentences)
    try:
        lines = tuple(_line(number, given) for number, given in reader(text))
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    if not lines:
        raise ValueError(f"{path} holds no prompts; write one a line, for example: a red mug")
    return lines


Given = Mapping[str, Any] | str
"What a line says, by name; or what is wrong with it."


def _sentences(text: str) -> Iterator[tuple[int, Given]]:
    # Not `splitlines`, which would also cut at U+2028 and other characters that belong to a prompt.
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            prompt, *rest = _FIRST_OPTION.split(line, maxsplit=1)
            yield number, _options(prompt.strip(), rest[0] if rest else "")


def _options(prompt: str, text: str) -> Given:
    """`--seed 3 --set a.b=c` as a table; `--seed=3` is the same."""
    given: dict[str, Any] = {"prompt": prompt, "set": []}
    try:
        words = shlex.split(text)
    except ValueError as error:
        return f"{text!r}: {error}"
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            return f"expected an option such as --seed 3; got {name!r}"
        if not equals and not words:
            return f"{name} needs a value"
        value = value if equals else words.pop(0)
        if name == "--set":
            given["set"].append(value)
        elif name[2:] in given:
            return f"{name} is given twice"
        else:
            given[name[2:]] = value
    return given


def _rows(text: str) -> Iterator[tuple[int, Given]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if "prompt" not in names or len(set(names)) < len(names):
        raise csv.Error(f"the first line must name the columns, once each, and `prompt` among them; got {names}")
    reader.fieldnames = names
    for row in reader:
        if row.pop(None, None):
            yield reader.line_num, f"more cells than the {len(names)} columns of the first line"
        else:
            yield reader.line_num, {name: value.strip() for name, value in row.items() if value and value.strip()}


def _objects(text: str) -> Iterator[tuple[int, Given]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"
            continue
        given = {"prompt": given} if isinstance(given, str) else given
        yield number, given if isinstance(given, dict) else f"expected an object with a `prompt`; got {line[:80]}"


def _line(number: int, given: Given) -> PromptLine:
    if isinstance(given, str):
        return PromptLine(number, error=given)
    try:
        return _checked(number, given)
    except ValueError as error:
        prompt = given.get("prompt")
        return PromptLine(number, prompt if isinstance(prompt, str) else "", error=str(error))


def _checked(number: int, given: Mapping[str, Any]) -> PromptLine:
    given = {name: value for name, value in given.items() if not name.startswith("#")}
    for name in given:
        if name not in OPTIONS and "." not in name:
            raise ValueError(unknown(repr(name), OPTIONS))
    prompt = _text(given, "prompt") or ""
    if not prompt.strip():
        raise ValueError("the prompt is empty")
    settings = given.get("set", [])
    settings = [settings] if isinstance(settings, str) else settings
    if not isinstance(settings, list) or not all(isinstance(setting, str) for setting in settings):
        raise ValueError(f"set: expected key=value texts; got {settings!r}")
    if given.get("steps") is not None:
        settings = [*settings, f"training.steps={_whole(given, 'steps')}"]
    settings = [*settings, *source_settings(_text(given, "source"))]
    settings += [f"{name}={_toml(value)}" for name, value in given.items() if "." in name]
    recipe, prior = _text(given, "recipe"), _text(given, "prior")
    return PromptLine(number, prompt.strip(), recipe, prior, _whole(given, "seed"), tuple(settings))


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a text; got {value!r}")
    return value


def _whole(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value.strip()):
        number = int(value)
    else:
        raise ValueError(f"{name}: expected a whole number; got {value!r}")
    # Random generators take 64 bits with a sign; room is left for the seeds of rollbacks.
    if number is not None and not 0 <= number < 2**62:
        raise ValueError(f"{name}: expected a number from 0 to 2^62; got {number}")
    return number


def _toml(value: Any) -> str:
    """A cell's text as it is; whatever JSON can say otherwise is TOML as well."""
    return value if isinstance(value, str) else json.dumps(value)
