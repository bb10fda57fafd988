"""Claims about one gradient, not about a whole run: asked of finished scenes, with everything else held still."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import torch
from arms import Task
from jaxtyping import Float
from runs import load_prior_of, sides
from torch import Tensor

from dreamkit.export.atomic import write_atomically
from dreamkit.generate import load_scene, make_distiller
from dreamkit.guidance.inversion import Ladder
from dreamkit.guidance.ism import ISM
from dreamkit.guidance.learnt import student_of
from dreamkit.guidance.tsm import TSM
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.priors.student import camera_numbers
from dreamkit.recipe import load_recipe
from dreamkit.training.checkpoint import load_checkpoint
from dreamkit.training.run import Distiller

LEVELS = (200, 400, 600, 800)
HALF = 0.5
"Share of the run that schedules are asked at."


@dataclass(frozen=True)
class Shown:
    """Eight sides of a finished scene, as a method is shown them; draws come from one generator, in turn."""

    distiller: Distiller
    clean: Float[Tensor, "8 *latent"]
    generator: torch.Generator

    def view(self, t: int) -> NoisyView:
        """A fresh draw at the level t; a method with one noise for the whole run keeps it."""
        distiller, cameras = self.distiller, sides()
        guide = distiller.guide.at(cameras, HALF, source=self.generator)
        noise = distiller.noise.draw(self.clean, self.generator)
        levels = torch.full((len(cameras),), t)
        return noisy_view(distiller.prior, self.clean, levels, guide, cameras, self.generator, noise, HALF)


@torch.no_grad()
def show(folder: Path, task: Task, steps: int) -> Shown:
    """The finished scene of `folder` to the method of `task`."""
    recipe = task.recipe(steps, "")
    distiller = make_distiller(recipe, load_prior_of(recipe))
    scene, generator = load_scene(load_recipe(str(folder / "recipe.toml")), folder), torch.Generator()
    generator.manual_seed(task.seed)
    return Shown(distiller, distiller.prior.encode(scene.render(sides()).color, generator), generator)


@torch.no_grad()
def relative_variance(folder: Path, task: Task, steps: int, draws: int = 16) -> float:
    """`E |G - mean G|^2 / |mean G|^2` over the method's own draws, for fixed pictures, in the mean over levels."""
    shown, ratios = show(folder, task, steps), []
    guidance, prior = shown.distiller.guidance, shown.distiller.prior
    for t in LEVELS:
        stack = torch.stack([guidance.residual(prior, shown.view(t), None) for _ in range(draws)])
        ratios.append(float(stack.var(dim=0).sum() / stack.mean(dim=0).square().sum()))
    return mean(ratios)


@torch.no_grad()
def noise_error(folder: Path, task: Task, steps: int, shift: float) -> float:
    """Mean square of `eps(x_t', t', y) - eps`, with `t' = t + shift (t - 20)`, in the mean over levels t."""
    shown, errors = show(folder, task, steps), []
    prior = shown.distiller.prior
    for t in LEVELS:
        view = shown.view(t)
        later = torch.full_like(view.t, min(round(t + shift * (t - 20)), 999))
        answer = prior.predict_noise(
            prior.schedule.add_noise(view.clean, view.noise, later), later, view.guide.positive
        )
        errors.append(float((answer - view.noise).square().mean()))
    return mean(errors)


@torch.no_grad()
def student_error(folder: Path, task: Task, steps: int) -> float:
    """The same at t itself, of the student that a finished VSD run has trained on these very renders."""
    shown, errors = show(folder, task, steps), []
    student = student_of(shown.distiller.guidance.init(shown.distiller.prior))
    student.load_state_dict(load_checkpoint(folder / "checkpoint.safetensors").part("guidance"))
    for t in LEVELS:
        view = shown.view(t)
        camera = camera_numbers(view.cameras, view.noised)
        answer = student.predict_noise(view.noised, view.t, view.guide.plain, camera)
        errors.append(float((answer - view.noise).square().mean()))
    return mean(errors)


@torch.no_grad()
def interval_error(folder: Path, task: Task, steps: int, t: int = 600) -> tuple[float, float]:
    """How far the unguided part of G is from that of a fine inversion: rms, and in units of the latter's rms.

    The accumulated inversion error of arXiv 2405.11252: the method's ladder of strides of 200 against strides of 10.
    """
    shown = show(folder, task, steps)
    guidance, view = shown.distiller.guidance, shown.view(t)
    if not isinstance(guidance, ISM | TSM):
        raise TypeError(f"only ISM and TSM invert; got {type(guidance).__name__}")
    coarse = _interval(shown.distiller, view, guidance)
    fine = _interval(shown.distiller, view, replace(guidance, ladder=Ladder(stride=10, steps=100)))
    gap = float((coarse - fine).square().mean().sqrt())
    return gap, gap / float(fine.square().mean().sqrt())


def ask(task: Task, out: Path, steps: int) -> dict[str, dict[str, float]]:
    """All single-gradient measures at one finished SDS run, by arm; asked once, then kept beside the run."""
    path = out / task.name / "probes.json"
    if not path.exists():
        write_atomically(path, json.dumps(_ask(out, task, steps), indent=2).encode())
    return json.loads(path.read_text())


def _ask(out: Path, task: Task, steps: int) -> dict[str, dict[str, float]]:
    folder, vsd = out / task.name, replace(task, arm="vsd")
    answers: dict[str, dict[str, float]] = {}
    for arm in ("sds", "csd", "asd", "ism", "cds"):
        answers[arm] = {"variance of G": relative_variance(folder, replace(task, arm=arm), steps)}
    for arm in ("ism", "tsm, unclipped"):
        absolute, relative = interval_error(folder, replace(task, arm=arm), steps)
        answers.setdefault(arm, {}).update({"interval error": absolute, "relative interval error": relative})
    # The student knows the renders of its own run, so all three are asked about those.
    trained = out / vsd.name
    answers["asd, at t"] = {"noise error": noise_error(trained, vsd, steps, 0.0)}
    answers["asd, shifted"] = {"noise error": noise_error(trained, vsd, steps, 0.1)}
    answers["vsd's student"] = {"noise error": student_error(trained, vsd, steps)}
    return answers


def _interval(distiller: Distiller, view: NoisyView, guidance: ISM | TSM) -> Float[Tensor, "batch *latent"]:
    """`eps(x_t, t, null) - reference`, weighted: what is left of G where the text says nothing."""
    silent = replace(view, guide=replace(view.guide, positive=view.guide.null, negative=view.guide.null))
    return guidance.residual(distiller.prior, silent, None) / guidance.strength
