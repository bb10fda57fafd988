"""The claims bench: does each method do here what its paper says? `python benchmarks/claims/run.py [--jobs 2]`.

All arms get the same prompts, seeds and steps, on the prior in the box. What is finished is kept, and a run that was
stopped goes on, so the command can be stopped and called again, also with more seeds. Writes docs/results/claims.md.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from arms import ARMS, PROMPTS, Task, tasks
from measures import Numbers, collect
from probes import ask
from report import write_report
from runs import carry_out
from texture import SIZES, Painting, paint, pixel_noise

from dreamkit.workers import end_with_parent

CLIPPINGS = {"not clipped": 0.0, "clipped at 0.1": 0.1, "clipped at 0.5": 0.5}
PAINTING_STEPS = 150


def main() -> None:
    options = _options()
    wanted = tasks(options.arms, options.prompts, options.seeds)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), _begin) as pool:
        # Edits need the runs that they start from.
        for group in ([t for t in wanted if t.source is None], [t for t in wanted if t.source is not None]):
            _all(pool, carry_out, [(task, options.out, options.steps) for task in group])
        found = collect(options.out, wanted)
        students = [replace(task, arm="sds") for task in wanted if task.arm == "vsd"]
        _add_probes(pool, found, [task for task in students if task in wanted], options)
        noise: dict[int, tuple[float, float]] = dict(
            zip(SIZES, _all(pool, pixel_noise, [(size,) for size in SIZES]), strict=True)
        )
        _add_paintings(pool, found, max(noise, key=lambda size: noise[size][0]), options)
    print(write_report(options.out, wanted, found, noise))


def _begin() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/claims"))
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="budget of every arm but the edits, which have 200")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--prompts", nargs="+", default=list(PROMPTS), choices=list(PROMPTS), metavar="PROMPT")
    return parser.parse_args()


def _add_probes(pool: ProcessPoolExecutor, found: dict[str, Numbers], runs: list[Task], options: Any) -> None:
    answers = _all(pool, ask, [(task, options.out, options.steps) for task in runs])
    for task, answer in zip(runs, answers, strict=True):
        for arm, measured in answer.items():
            for measure, value in measured.items():
                found.setdefault(arm, {}).setdefault(measure, {})[f"{task.prompt} {task.seed}"] = value


def _add_paintings(pool: ProcessPoolExecutor, found: dict[str, Numbers], size: int, options: Any) -> None:
    """At the size where the encoder's gradient is noisiest."""
    for arm, threshold in CLIPPINGS.items():
        paintings = [
            Painting(prompt, seed, size, threshold) for seed in range(options.seeds) for prompt in options.prompts
        ]
        errors = _all(pool, paint, [(painting, options.out, PAINTING_STEPS) for painting in paintings])
        keyed = {f"{p.prompt} {p.seed}": error for p, error in zip(paintings, errors, strict=True)}
        found[arm] = {"texture error": keyed}


def _all(pool: ProcessPoolExecutor, work: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Results in order; failures are told as they happen, and end the bench after the rest is done."""
    futures: list[Future[Any]] = [pool.submit(work, *each) for each in arguments]
    failed = 0
    for count, future in enumerate(as_completed(futures), 1):
        error, what = future.exception(), arguments[futures.index(future)][0]
        failed += error is not None
        state = "done" if error is None else f"failed: {error!r}"
        print(f"{work.__name__} {count}/{len(futures)} {getattr(what, 'name', what)} {state}", flush=True)
    if failed:
        sys.exit(f"{failed} of {len(futures)} failed; what is finished is kept")
    return [future.result() for future in futures]


if __name__ == "__main__":
    main()
