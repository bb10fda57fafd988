"""From the lines of a prompt file to tasks: one complete recipe and one folder for each asset."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dreamkit.batch.prompt_file import PromptLine
from dreamkit.construct import plain
from dreamkit.names import folder_name
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import prior_settings
from dreamkit.source import with_source


@dataclass(frozen=True)
class Task:
    """One asset to make: plain texts and numbers, so that it can be sent to another process or machine."""

    key: str
    "SHA-256 of the recipe: the same asset has the same key, whatever else is in the batch."
    folder: str
    "Where its files go, absolute."
    prompt: str
    seed: int
    recipe: str
    "The complete recipe as TOML."
    lines: tuple[int, ...]
    "Lines of the prompt file that ask for it."


@dataclass(frozen=True)
class Defaults:
    """What holds for the lines that do not say otherwise: the options of `dreamkit generate`."""

    recipe: str = "toybox"
    prior: str | None = None
    settings: tuple[str, ...] = ()
    seed: int | None = None
    "Without one, the recipe's."
    seed_per_prompt: bool = False
    "Draw a line's seed from its prompt, and from how often the prompt came before; not from its neighbours."


def plan_tasks(
    lines: Sequence[PromptLine], defaults: Defaults, out: Path
) -> tuple[tuple[Task, ...], tuple[PromptLine, ...]]:
    """The tasks, those with the same prior together, and the lines that cannot be run with what is wrong with them.

    Lines that ask for the same asset (recipe, prompt and seed alike) are one task.
    """
    tasks: dict[str, Task] = {}
    refused: list[PromptLine] = []
    priors: dict[str, str] = {}
    seen: Counter[str] = Counter()
    recipe_of = cache(_recipe)
    for line in lines:
        if line.error:
            refused.append(line)
            continue
        try:
            recipe = recipe_of(line.recipe or defaults.recipe, line.prior or defaults.prior,
                               (*defaults.settings, *line.settings))  # fmt: skip
            recipe = recipe.asking(line.prompt, _seed(line, recipe, defaults, seen[line.prompt]))
            task = _task(line, recipe, out)
        except (ValueError, ArithmeticError) as error:
            refused.append(replace(line, error=str(error)))
            continue
        seen[line.prompt] += 1
        known = tasks.get(task.key)
        tasks[task.key] = task if known is None else replace(known, lines=(*known.lines, line.number))
        priors[task.key] = json.dumps(plain(recipe.prior))
    return tuple(_grouped(tasks.values(), priors)), tuple(refused)


def _recipe(name: str, prior: str | None, settings: tuple[str, ...]) -> Recipe:
    # A source is looked for now, and its content is part of the task: another content is another asset.
    return with_source(load_recipe(name, [*settings, *prior_settings(prior)]))


def _seed(line: PromptLine, recipe: Recipe, defaults: Defaults, earlier: int) -> int:
    if line.seed is not None:
        return line.seed
    seed = recipe.seed if defaults.seed is None else defaults.seed
    if not defaults.seed_per_prompt:
        return seed
    digest = hashlib.sha256(f"{seed} {earlier} {line.prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def _task(line: PromptLine, recipe: Recipe, out: Path) -> Task:
    text = recipe.text()
    key = hashlib.sha256(text.encode()).hexdigest()
    folder = out.resolve() / f"{folder_name(line.prompt, recipe.seed)}-{key[:8]}"
    return Task(key, str(folder), line.prompt, recipe.seed, text, (line.number,))


def _grouped(tasks: Iterable[Task], priors: dict[str, str]) -> list[Task]:
    """In the order of the file, but each prior is loaded once: its tasks follow the first of them."""
    order = {prior: index for index, prior in reversed(list(enumerate(priors.values())))}
    return sorted(tasks, key=lambda task: order[priors[task.key]])
