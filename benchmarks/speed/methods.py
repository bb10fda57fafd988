"""What each method costs: `python benchmarks/speed/methods.py [--steps 20] [--methods sds vsd ...] [--out FILE]`.

Whole training steps on the prior in the box, spread over a run in miniature, so that levels move as in a long one. Each
method has a process of its own: its peak memory is read before anything else runs there, and then its steps are timed
in turns with steps of SDS in the same recipe. UNet calls are counted where they happen.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median

import torch
from torch.nn.modules.module import register_module_forward_hook

from dreamkit.construct import options
from dreamkit.generate import make_distiller
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.dds import DDS
from dreamkit.guidance.pds import PDS
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.wrapper import AbstractWrapper
from dreamkit.priors.base import AbstractPrior
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import names
from dreamkit.rendering import Step
from dreamkit.training.loop import train
from dreamkit.training.original import Original

OUT = Path(__file__).parents[2] / "docs" / "results" / "costs.md"
CARD = {"sds": "2", "csd": "2 (3)", "asd": "3", "dds": "4", "pds": "4", "cds": "4", "sid": "2 + 1 learning"}
CARD |= {"vsd": "4 + 1 learning", "esd": "4 + 1 learning", "dmd2": "vsd, 1 to 5 learning", "f_distill": "vsd + head"}
CARD |= {"ism": "ceil(s / 200) + 3", "tsm": "ism + 1"}
"UNet rows for each view by method card 15.3, which does not count the others."
HEAD = """# What each method costs

One training step on the prior in the box, 2 views of 64x64, all in; {steps} steps of each method. {machine}.
Command: `python benchmarks/speed/methods.py --steps {steps}`.

`calls` are of UNets in one step. Rows are for each view: those of the prior, of the student, and of the student with a
graph, for learning. Times are medians, taken in turns with SDS in the same recipe. Memory is the largest resident size
of a process that ran nothing else.

| method | calls | prior | student | learning | card 15.3 | ms | SDS, ms | ratio | MB |
|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = "## What was redundant"


@dataclass
class Cost:
    """Of one method; counts are means over its steps."""

    method: str
    calls: float = 0.0
    prior: float = 0.0
    student: float = 0.0
    learning: float = 0.0
    "Rows of the student with a graph: each costs a backward pass, too."
    megabytes: float = 0.0
    seconds: list[float] = field(default_factory=list)
    sds_seconds: list[float] = field(default_factory=list)

    def row(self) -> str:
        mine, sds = 1e3 * median(self.seconds), 1e3 * median(self.sds_seconds)
        counts = [f"{number:.1f}" for number in (self.calls, self.prior, self.student, self.learning)]
        measured = [f"{mine:.0f}", f"{sds:.0f}", f"{mine / sds:.2f}", f"{self.megabytes:.0f}"]
        return f"| {' | '.join([self.method, *counts, CARD.get(self.method, '-'), *measured])} |"


def recipe_of(method: str, steps: int) -> Recipe:
    """The method's recipe in the box, or its defaults in the one for SDS; as a run of `steps`."""
    own = f"toybox-{method.replace('_', '-')}"
    settings = [f"training.steps={steps}", f"training.checkpoint_every={steps}", "training.preview_every=0"]
    recipe = load_recipe(own if own in names() else "toybox", ["prompt.scale=7.5", *settings]).asking("a red mug", 0)
    cls = options(AbstractGuidance)[method]
    guidance = cls(SDS()) if issubclass(cls, AbstractWrapper) else cls()
    return replace(recipe, edit=None) if own in names() else replace(recipe, guidance=guidance)


def steps_of(recipe: Recipe, prior: AbstractPrior) -> Iterator[Step]:
    """A run; its original, for methods that compare, is a fresh scene."""
    distiller = make_distiller(recipe, prior)
    if isinstance(recipe.guidance, DDS | PDS):
        distiller = replace(distiller, original=Original(recipe.scene(), distiller.guide))
    return train(recipe.scene(), distiller, recipe.training, seed=0)


def measure(method: str, steps: int) -> Cost:
    """One method, in this process."""
    recipe, cost = recipe_of(method, steps), Cost(method)
    prior = recipe.prior.build(device="cpu")
    rows = steps * recipe.training.milestones.at(0.0)[1]

    def count(module: torch.nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(module, type(prior.unet)):
            kind = "prior" if module is prior.unet else "learning" if torch.is_grad_enabled() else "student"
            setattr(cost, kind, getattr(cost, kind) + len(inputs[0]) / rows)
            cost.calls += 1 / steps

    hook = register_module_forward_hook(count)
    for _ in steps_of(recipe, prior):
        pass
    hook.remove()
    cost.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mine, sds = steps_of(recipe, prior), steps_of(replace(recipe, guidance=SDS()), prior)
    for _ in range(steps):
        cost.seconds.append(_timed(mine))
        cost.sds_seconds.append(_timed(sds))
    return cost


def _timed(steps: Iterator[Step]) -> float:
    begin = time.perf_counter()
    next(steps)
    return time.perf_counter() - begin


def _apart(method: str, steps: int) -> Cost:
    command = [sys.executable, __file__, "--alone", method, "--steps", str(steps)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{method} failed:\n{answer.stderr}")
    return Cost(**json.loads(answer.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=list(options(AbstractGuidance)))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--alone", help="measure this method here and print JSON: what the subprocesses do")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(asdict(measure(given.alone, given.steps))))
        return
    costs = []
    for method in given.methods:
        costs.append(_apart(method, given.steps))
        print(costs[-1].row(), flush=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    head = HEAD.format(steps=given.steps, machine=machine)
    # What was written below the table by hand stays.
    tail = given.out.read_text(encoding="utf-8").partition(TAIL)[2] if given.out.exists() else "\n"
    table = "\n".join(cost.row() for cost in costs)
    given.out.write_text(f"{head}{table}\n\n{TAIL}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
