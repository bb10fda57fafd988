"""Recipe files: found by name or path, completed by what they extend, changed by `key=value` settings."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamkit.construct import Plain, RecipeError, unknown
from dreamkit.names import existing
from dreamkit.priors.locate import prior_type

FOLDER = Path(__file__).parent / "recipes"

Table = dict[str, Any]


def names() -> list[str]:
    """The recipes in the box."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_table(name: str, settings: Sequence[str] = ()) -> Table:
    """The whole table of a recipe: its own entries over those of the recipe that it `extends`, then the settings.

    `name` is a recipe in the box, or a file (anything that ends in .toml or has a slash); an extended file is looked
    for beside the one that names it. Raises RecipeError.
    """
    return apply_settings(_complete(name, Path(), ()), settings)


def apply_settings(table: Table, settings: Sequence[str]) -> Table:
    """The table with each `key=value` set, in place; raises RecipeError for texts of another form."""
    for setting in settings:
        _set(table, setting)
    return table


def extend_table(own: Table) -> Table:
    """A table that came from no file, completed by the recipe that it `extends`; raises RecipeError."""
    return _extended(own, "the recipe", Path(), ())


def prior_settings(prior: str | None) -> list[str]:
    """What `--prior` changes in a recipe: the model, and the type of prior where the usual one cannot read it."""
    if prior is None:
        return []
    kind = prior_type(prior)
    # Quoted, so that a folder called 21 stays a text.
    model = "prior.model='" + prior.replace("'", "") + "'"
    return [model, f"prior.type={kind}"] if kind in ("flow", "pixel") else [model]


def source_settings(source: str | None) -> list[str]:
    """What `--source` changes in a recipe."""
    # A JSON string is a TOML string: folders may be called 21, or hold quotes.
    return [] if source is None else [f"source.path={json.dumps(source, ensure_ascii=False)}"]


def merge(base: Table, own: Table) -> Table:
    """`own` over `base`, section by section.

    A section of another `type` takes over none of the old one's options, and a schedule (a table with a `start`) is one
    value: half of an old ramp in a new one would surprise.
    """
    merged = dict(base)
    for key, value in own.items():
        old = base.get(key)
        merged[key] = merge(old, value) if old is not None and _is_same_section(old, value) else value
    return merged


def difference(base: Table, own: Table) -> Table:
    """What `own` says other than `base`: `merge(base, difference(base, own))` is `own`, where it lacks nothing of base.

    Sections of one type are compared entry by entry; others, and schedules, are one value.
    """
    changed: Table = {}
    for key, value in own.items():
        old = base.get(key)
        if old is not None and _is_same_section(old, value):
            if inner := difference(old, value):
                changed[key] = inner
        elif key not in base or old != value:
            changed[key] = value
    return changed


def _is_same_section(old: object, new: object) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    return "start" not in old and new.get("type", old.get("type")) == old.get("type")


def _complete(name: str, beside: Path, chain: tuple[Path, ...]) -> Table:
    path = _locate(name, beside)
    if path in chain:
        raise RecipeError(f"recipe: {' extends '.join(str(p) for p in (*chain, path))}, which never ends")
    return _extended(_beside(_read(path), path.parent), path, path.parent, (*chain, path))


def _beside(own: Table, folder: Path) -> Table:
    """The table with the path of its source as seen from its own folder; settings are seen from where one works."""
    source = own.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("path"), str) or not source["path"]:
        return own
    path = source["path"]
    return {**own, "source": {**source, "path": path if path.startswith("~") else str(folder / path)}}


def _extended(own: Table, named: object, beside: Path, chain: tuple[Path, ...]) -> Table:
    if "extends" not in own:
        return own
    own = dict(own)
    base = own.pop("extends")
    if not isinstance(base, str):
        raise RecipeError(f"{named}: extends: expected the name of a recipe; got {base!r}")
    return merge(_complete(base, beside, chain), own)


def _locate(name: str, beside: Path) -> Path:
    if not name.endswith(".toml") and "/" not in name:
        path = existing(str(FOLDER / f"{name}.toml"))
        if path is None:
            raise RecipeError(f"recipe: {unknown(repr(name), names())}")
        return path
    path = existing(str(beside / name))
    if path is None or not path.is_file():
        raise RecipeError(f"recipe: no file {beside / name}")
    return path.resolve()


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} is not a TOML file: {error}") from error


def _set(table: Table, setting: str) -> None:
    """Apply `a.b.c=value`; the value is TOML, or else a plain text."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {setting}: expected key=value, such as --set training.steps=800")
    *parents, last = (part.strip() for part in key.split("."))
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {setting}: {parent!r} is a value, not a section")
    table[last] = _plain_value(text.strip())


def _plain_value(text: str) -> Plain:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
