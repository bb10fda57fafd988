"""What a stranger's recipe may say: no paths, no models but those on offer, no sizes that would fill the memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dreamkit.construct import RecipeError
from dreamkit.names import existing

MOST = {
    "steps": 20_000, "views": 32, "sizes": 1024, "samples": 4096, "importance": 1024, "hidden": 1024,
    "levels": 32, "log2_table_size": 22, "grid": 512, "resolution": 512, "count": 1_000_000,
    "faces": 500_000, "texture": 4096, "frames": 240, "size": 1024, "refine": 200, "smoothing": 1000,
    "resolutions": 256, "density_rank": 256, "feature_rank": 512, "frequencies": 32, "width": 512, "depth": 16,
    "features": 64, "channels": 64, "most": 500_000, "supersample": 4, "base": 256, "rank": 128, "group": 16,
    "updates": 16, "rays": 16_384, "points": 131_072, "ray_pool": 200, "pose_pool": 200, "poses": 1024, "targets": 64,
    "judged": 256, "fine": 512, "coarse": 256, "window": 1024, "shine": 1024, "matt": 1024,
}  # fmt: skip
"Largest value of an option, by its name; any other number may be a million."

MOST_OF_KIND = {"tet_mesh": {"resolution": 128}, "flexi_mesh": {"resolution": 128}}
"The same for options that cost more with some shapes: a plane of 512 by 512 is small, a grid of 512^3 is not."

_TEXTS = ("prompt.text", "prompt.negative", "edit.prompt", "about")
"Options that are sentences: a slash in them is no path."


def check_table(table: Mapping[str, Any], priors: Sequence[str]) -> None:
    """Refuse a recipe from a stranger that would read files, fetch models or take more than a visitor's share.

    Raises RecipeError naming the option, its value and what is allowed.
    """
    prompt = table.get("prompt")
    if isinstance(prompt, Mapping) and "debiasing" in prompt:
        raise RecipeError("prompt.debiasing: it reads a language model; use the command line for it")
    most = MOST | _bounds_of_kinds(table)
    for place, value in _leaves(table, ""):
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            _check_number(place, value, most)
        elif place == "prior.model":
            if value not in priors:
                raise RecipeError(f"{place}: this server offers {', '.join(priors)}; got {value!r}")
        elif isinstance(value, str) and place not in _TEXTS:
            _check_text(place, value)


def _bounds_of_kinds(table: Mapping[str, Any]) -> dict[str, int]:
    """The stricter bounds of the shapes of all stages; they hold for all of them."""
    stages = [stage for stage in (table, table.get("coarse")) if isinstance(stage, Mapping)]
    shapes = [stage["shape"] for stage in stages if isinstance(stage.get("shape"), Mapping)]
    found: dict[str, int] = {}
    for shape in shapes:
        found |= MOST_OF_KIND.get(str(shape.get("type")), {})
    return found


def _check_number(place: str, value: float, bounds: Mapping[str, int]) -> None:
    names = [name for name in place.split(".") if name in bounds]
    most = bounds[names[-1]] if names else 1_000_000
    if not math.isfinite(value) or abs(value) > most:
        raise RecipeError(f"{place}: at most {most:,} on this server; got {value:,}. Use the command line for more")


def _check_text(place: str, value: str) -> None:
    """A bare word that happens to name a folder here is a path as well: some options take either."""
    looks_like_a_path = any(mark in value for mark in ("/", "\\", "~", "\0")) or value.startswith(".")
    # A type is a word of ours, whatever lies in the server's folder.
    is_there = not place.endswith(".type") and existing(value) is not None
    if value and (looks_like_a_path or len(value) > 500 or is_there):
        raise RecipeError(f"{place}: the page takes no paths; got {value[:80]!r}. Use the command line for those")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every plain value with its dotted place; the entries of a list have the list's place."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry, place)
    else:
        yield place, value
