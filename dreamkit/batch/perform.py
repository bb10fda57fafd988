"""One task, carried out in this process."""

import errno
import json
import time
import tomllib
from collections.abc import Generator
from pathlib import Path

from dreamkit.batch.result import Result, close, failure, finished
from dreamkit.batch.task import Task
from dreamkit.construct import plain
from dreamkit.generate import generate
from dreamkit.priors.base import AbstractPrior
from dreamkit.recipe import Recipe, parse_recipe
from dreamkit.rendering import Step
from dreamkit.training.checkpoint import previous
from dreamkit.training.together import Share

_STOPPING = {errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"Errors of the file system that every other task would meet as well."
_PATIENCE = 60.0
"Seconds that a process which is about to die is given to let go of a folder."


def _alone(prior: AbstractPrior) -> AbstractPrior:
    return prior


class LoadedPrior:
    """The prior of the last task: tasks with the same one do not load it again."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds = 0.0
        "What loading it has cost since the last task that was done."
        self._key, self._prior = "", None

    def of(self, recipe: Recipe) -> AbstractPrior:
        """The recipe's prior; another one that was loaded before is let go of first."""
        key = json.dumps(plain(recipe.prior))
        if self._prior is None or key != self._key:
            self._prior, began = None, time.monotonic()
            self._key, self._prior = key, recipe.prior.build(device=self.device)
            self.seconds += time.monotonic() - began
        return self._prior


def perform(task: Task, prior: LoadedPrior, share: Share = _alone) -> Generator[Step | Result]:
    """The steps of a task, and then its result; goes on where an earlier attempt stopped.

    The run uses what `share` makes of the prior.

    Everything that `generate` is known to raise is the task's own failure, told in its result; other exceptions are
    errors of dreamkit or of the machine and come out.
    """
    began = time.monotonic()
    try:
        done = finished(task)
        if done is None:
            recipe = parse_recipe(tomllib.loads(task.recipe))
            folder = Path(task.folder)
            shared = share(prior.of(recipe))
            yield from generate(recipe, folder, device=prior.device, resume=True, prior=shared, wait=_PATIENCE)
            done = close(task, time.monotonic() - began, prior.seconds)
            prior.seconds = 0.0
            # It protects a run that goes on; a thousand of them would fill the disk.
            previous(folder / "checkpoint.safetensors").unlink(missing_ok=True)
        yield done
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        reason = f"{error.strerror}{place}" if error.strerror else str(error)
        yield failure(task, reason, began, stops=error.errno in _STOPPING)
    except (ValueError, ArithmeticError) as error:
        yield failure(task, str(error), began)
