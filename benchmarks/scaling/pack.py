"""What packing gains and what it changes: `python benchmarks/scaling/pack.py steps|whole|apart|report [--out DIR]`.

`steps` times the steps of packs of 1, 2, 4 and 8 assets, split into the prior and the rest; `whole` times the command
`dreamkit batch --pack K` with one worker, export included; `apart` compares packed runs with the same runs alone as
they go on; `report` prints the tables of docs/results/batch.md. Each measurement is a file in DIR and is made once: the
same command goes on where it stopped.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from batch import PYTHON, prompts_of, spent

from dreamkit.cameras import orbit
from dreamkit.generate import make_distiller
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.encoding import Encoded
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.training.loop import train
from dreamkit.training.together import Share, together

SIZES, ASSETS = (1, 2, 4, 8), 8
MARKS = (1, 3, 10, 30, 60, 100, 200, 400)
"Steps after which packed and lonely runs are compared."


class Clock:
    """Seconds inside the prior: of the processor, or on a GPU of the wall."""

    def __init__(self, prior: AbstractPrior) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.on_gpu = prior.device.type == "cuda"
        prior.predict_noise = self.timed("UNet", prior.predict_noise)
        prior.encode_apart = self.both_ways(self.timed("VAE", prior.encode_apart))

    def now(self) -> float:
        if not self.on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            began = self.now()
            answer = function(*arguments, **options)
            self.spent[name] += self.now() - began
            return answer

        return run

    def both_ways(self, encode: Callable[..., Encoded]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Encoded:
            encoded = encode(*arguments)
            return replace(encoded, pull_back=self.timed("VAE", encoded.pull_back))

        return run


def job(recipe: Recipe, scene: Scene, prior: AbstractPrior) -> Callable[[Share], Generator[Step]]:
    def run(share: Share) -> Generator[Step]:
        distiller = make_distiller(recipe, share(prior))
        yield from train(scene, distiller, recipe.training, seed=recipe.seed)

    return run


def recipes(options: argparse.Namespace) -> list[Recipe]:
    loaded = load_recipe(options.recipe, [f"training.steps={options.steps}", "training.preview_every=0"])
    return [loaded.asking(prompt, seed) for seed, prompt in enumerate(prompts_of()[:ASSETS])]


def scenes_of(asked: Sequence[Recipe], device: str) -> list[Scene]:
    return [recipe.scene().to(device) for recipe in asked]


def steps(size: int, options: argparse.Namespace) -> dict:
    """Milliseconds of an asset's step. The first steps of each pack are a warm-up, and not counted."""
    asked = recipes(options)
    prior = asked[0].prior.build(device=options.device)
    scenes, clock = scenes_of(asked, options.device), Clock(prior)
    counted, total, wall = 0, 0.0, 0.0
    inside: dict[str, float] = defaultdict(float)
    for first in range(0, ASSETS, size):
        pack = [
            job(*pair, prior) for pair in zip(asked[first : first + size], scenes[first : first + size], strict=True)
        ]
        running = together(pack)
        for _ in range(options.warmup * size):
            next(running)
        clock.spent.clear()
        began, at = clock.now(), time.perf_counter()
        counted += sum(1 for _ in running)
        total, wall = total + clock.now() - began, wall + time.perf_counter() - at
        for name, seconds in clock.spent.items():
            inside[name] += seconds
    spent = {**inside, "rest": total - sum(inside.values()), "step": total, "wall": wall}
    return {name: 1e3 * seconds / counted for name, seconds in spent.items()}


def whole(size: int, options: argparse.Namespace) -> dict:
    """The command itself: starting, the prior, optimisation and export."""
    lines = options.out / "prompts.txt"
    lines.write_text("\n".join(prompts_of()[:ASSETS]) + "\n")
    folder = options.out / f"made-{size}-{options.round}"
    command = [
        *PYTHON, "batch", str(lines), "--out", str(folder), "--workers", "1", "--pack", str(size), "--recipe",
        options.recipe, "--steps", str(options.steps), "--device", options.device, "--seed-per-prompt",
    ]  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    return spent(command)


def apart(size: int, options: argparse.Namespace) -> dict:
    """The largest and the mean difference of any pixel of the first asset, packed and alone, after so many steps."""
    asked = recipes(options)[:size]
    prior = asked[0].prior.build(device=options.device)
    seen = []
    for count in (1, size):
        scenes = scenes_of(asked[:count], options.device)
        jobs = [job(recipe, scene, prior) for recipe, scene in zip(asked[:count], scenes, strict=True)]
        heard = (step.index for index, step in together(jobs) if index == 0)
        seen.append({index: look(scenes[0], options.device) for index in heard if index in MARKS})
    gaps = {index: (seen[0][index] - seen[1][index]).abs() for index in seen[0]}
    return {index: (float(gap.max()), float(gap.mean())) for index, gap in gaps.items()}


@torch.no_grad()
def look(scene: Scene, device: str) -> torch.Tensor:
    return scene.render(orbit([0.0, 90.0, 180.0, 270.0], height=64, width=64).to(device)).color.cpu()


def report(out: Path) -> str:
    """Markdown tables of what has been measured; medians over rounds."""
    columns = {"steps": ("step", "UNet", "VAE", "rest", "wall"), "whole": ("processor", "seconds", "load")}
    lines = []
    for name, wanted in columns.items():
        lines += [f"| {name}, K | " + " | ".join(wanted) + " |", "|---" * (len(wanted) + 1) + "|"]
        for size, entries in found(out, name):
            values = " | ".join(f"{median(entry[column] for entry in entries):.1f}" for column in wanted)
            lines.append(f"| {size} | {values} |")
        lines.append("")
    for size, entries in found(out, "whole"):
        each_hour = [3600 * ASSETS / median(entry[name] for entry in entries) for name in ("processor", "seconds")]
        lines.append(f"K = {size}: {each_hour[0]:.0f} assets in a processor-hour, {each_hour[1]:.0f} in an hour")
    for size, entries in found(out, "apart"):
        gaps = (f"{step}: {worst:.1e} ({mean:.1e})" for step, (worst, mean) in entries[0].items())
        lines.append(f"K = {size} against alone, after steps: {', '.join(gaps)}")
    return "\n".join(lines)


def found(out: Path, name: str) -> list[tuple[int, list[dict]]]:
    """The rounds of each size that has any."""
    paths = {size: sorted(out.glob(f"{name}-{size}-*.json")) for size in SIZES}
    return [(size, [json.loads(path.read_text()) for path in some]) for size, some in paths.items() if some]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["steps", "whole", "apart", "report"])
    parser.add_argument("--out", type=Path, default=Path("outputs/pack"))
    parser.add_argument("--recipe", default="toybox")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part == "report":
        print(report(options.out))
    elif options.one:
        torch.set_num_threads(1)
        told = {"steps": steps, "whole": whole, "apart": apart}[options.part](options.one, options)
        (options.out / f"{options.part}-{options.one}-{options.round}.json").write_text(json.dumps(told))
        print(options.one, told, flush=True)
    else:
        each(options)


def each(options: argparse.Namespace) -> None:
    """Every size in a process of its own, round by round, so that what else the machine does falls on all alike."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for number in range(options.rounds):
        for size in options.sizes:
            if not (options.out / f"{options.part}-{size}-{number}.json").exists():
                again = [*sys.argv, "--one", str(size), "--round", str(number)]
                subprocess.run([sys.executable, *again], check=True)


if __name__ == "__main__":
    main()
