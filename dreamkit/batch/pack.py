"""Packs: tasks that are optimised together, so that they share each call of the prior."""

import json
import tomllib
from collections.abc import Generator, Sequence
from functools import partial

from dreamkit.batch.perform import LoadedPrior, perform
from dreamkit.batch.result import Result
from dreamkit.batch.task import Task
from dreamkit.rendering import Step
from dreamkit.training.together import together

Pack = tuple[Task, ...]
"What a worker carries out at a time."


def packs_of(tasks: Sequence[Task], size: int) -> list[Pack]:
    """Packs of at most `size` tasks whose recipes differ in prompt, seed, edited run and source only, in their order.

    Runs of one recipe ask their prior the same questions at the same time; others would seldom meet. Raises ValueError
    for a size below 1.
    """
    if size < 1:
        raise ValueError(f"a pack holds at least one asset; got {size}")
    packs: list[list[Task]] = []
    filling: dict[str, list[Task]] = {}
    for task in tasks:
        kind = _kind(task)
        if len(filling.get(kind, ())) in (0, size):
            filling[kind] = []
            packs.append(filling[kind])
        filling[kind].append(task)
    return [tuple(pack) for pack in packs]


def perform_pack(pack: Sequence[Task], prior: LoadedPrior) -> Generator[tuple[Task, Step | Result]]:
    """Each task with its steps and then its result; see `perform`, which does the same for a task alone.

    Every task keeps its own generator, optimiser, checkpoint, log and folder. What it ends with is what it ends with
    alone, but for rounding, which grows along a run; so bytes are the same only in the same pack. One that fails, that
    returns from NaN or that has fewer steps to do leaves the others alone.
    """
    if len(pack) == 1:
        for said in perform(pack[0], prior):
            yield pack[0], said
        return
    for index, said in together([partial(perform, task, prior) for task in pack]):
        yield pack[index], said


def _kind(task: Task) -> str:
    table = tomllib.loads(task.recipe)
    table["seed"], table["prompt"]["text"] = 0, ""
    if "edit" in table:
        table["edit"] |= {"run": "", "prompt": ""}
    if "source" in table:
        table["source"] = {}
    return json.dumps(table, sort_keys=True)
