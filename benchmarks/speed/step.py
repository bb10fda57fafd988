"""Where a training step's time goes: `python benchmarks/speed/step.py [--steps 40] [--recipe toybox] [--json FILE]`.

Each part is timed inside real steps of a real run, after a warm-up; the table gives medians. What is not the prior's
UNet or VAE is dreamkit's own, and should stay below half.
"""

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dreamkit.generate import make_distiller
from dreamkit.recipe import load_recipe
from dreamkit.training import loop


class Clock:
    """Collects the seconds that wrapped functions take, step by step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            result = function(*arguments, **options)
            if self.steps:
                self.steps[-1][name] += time.perf_counter() - begin
            return result

        return timed


def measure(recipe_name: str, steps: int, warmup: int) -> dict[str, float]:
    """Median milliseconds of each part."""
    recipe = load_recipe(recipe_name, [f"training.steps={steps + warmup}"]).asking("a red mug", 0)
    prior = recipe.prior.build(device="cpu")
    distiller, scene, clock = make_distiller(recipe, prior), recipe.scene(), Clock()
    prior.predict_noise = clock.wrap("UNet", prior.predict_noise)
    prior.encode = clock.wrap("VAE forward", prior.encode)
    scene.render = clock.wrap("render forward", scene.render)
    scene.update = clock.wrap("occupancy grid", scene.update)
    run = loop.Run(scene, distiller, recipe.training, seed=0)
    run.optimizer.step = clock.wrap("Adam", run.optimizer.step)
    torch.Tensor.backward = clock.wrap("render backward", torch.Tensor.backward)
    for index in range(steps + warmup):
        clock.steps.append(defaultdict(float))
        begin = time.perf_counter()
        assert loop._advance(run) is not None
        clock.steps[-1]["whole step"] = time.perf_counter() - begin
        if index < warmup:
            clock.steps.clear()
    parts = {name: 1e3 * median(step[name] for step in clock.steps) for name in clock.steps[-1]}
    parts["VAE backward"] = 1e3 * _vae_backward(prior, recipe.training.milestones.at(0.5))
    return parts


def _vae_backward(prior: Any, milestone: tuple[int, int]) -> float:
    size, views = milestone
    images = torch.rand(views, size, size, 3, requires_grad=True)
    seconds = []
    for _ in range(10):
        latents = prior.encode(images, torch.Generator().manual_seed(0))
        begin = time.perf_counter()
        torch.autograd.grad(latents.sum(), images)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="toybox")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parts = measure(options.recipe, options.steps, options.warmup)
    prior = parts["UNet"] + parts["VAE forward"] + parts["VAE backward"]
    parts["share outside UNet and VAE"] = 1 - prior / parts["whole step"]
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, value in parts.items():
        print(f"{name:<30}{value:10.2f}" + (" ms" if not name.startswith("share") else ""))
    if options.json:
        options.json.write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
