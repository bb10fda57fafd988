"""The training loop: a scene, a prior and a guidance in, a stream of `Step`s out.

Readers (command line, app, notebook) only iterate; the loop knows nothing of them. Stop iterating and the run stops.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.priors.encoding import Encoded
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering, Step
from dreamkit.schedules import value_at
from dreamkit.training.checkpoint import Checkpoint, load_latest, save_checkpoint
from dreamkit.training.plan import TrainingPlan
from dreamkit.training.rearrange import rearrange
from dreamkit.training.run import Distiller, Run


class Diverged(ArithmeticError):
    """A run kept producing NaN; the message says where, and what to try."""


def train(
    scene: Scene,
    distiller: Distiller,
    plan: TrainingPlan,
    *,
    seed: int = 0,
    path: Path | None = None,
    resume: bool = False,
) -> Iterator[Step]:
    """Optimise `scene` in place, and yield a `Step` after each optimiser step.

    With `path`, a checkpoint is written there every `checkpoint_every` steps and at the end; `resume` goes on from it,
    to the same result as a run that was never interrupted (where it is damaged, from the previous one, with a
    `Step.note`). A loss or gradient that is not finite is never applied: the run returns to the last good state with
    fresh random numbers, and says so in `Step.note`. Raises Diverged after `patience` returns in a row,
    DamagedCheckpoint, and OSError where the checkpoint cannot be written.
    """
    run = Run(scene, distiller, plan, seed)
    stored, note = load_latest(path) if resume and path is not None else (None, None)
    if stored is not None:
        run.restore(stored)
    if note is not None:
        yield Step(run.step, plan.steps, 0.0, note=note)
    good, failures = run.checkpoint(), 0
    while run.step < plan.steps:
        step = _advance(run)
        if step is None:
            failures += 1
            step = _roll_back(run, good, failures)
        elif run.step % plan.checkpoint_every == 0 or run.step == plan.steps:
            good, failures = run.checkpoint(), 0
            if path is not None:
                save_checkpoint(path, good)
        yield step


def _advance(run: Run) -> Step | None:
    """One step; None, with nothing applied, where a number is not finite."""
    plan, progress = run.plan, run.step / run.plan.steps
    rendering, cameras, draws = _render(run, progress)
    encoded, view = _view(run, rendering, cameras, progress, draws)
    distilled = distill(run.distiller.guidance, run.distiller.prior, view, run.state)
    terms = plan.regularization.terms(rendering, progress)
    terms |= plan.material.terms(run.scene, rendering, cameras, progress, run.generator)
    loss = distilled.loss + sum(terms.values())
    if not loss.isfinite():
        return None
    # Its gradient at the renders is the distilled one; the encoder's part of the chain rule lies behind it already.
    pull = (rendering.color * encoded.image_gradient(distilled.loss)).sum()
    if not _apply(run, pull + sum(terms.values()), progress) or not _learn(run, view):
        return None
    run.step += 1
    for change in run.scene.adapt(rendering, run.step, progress, run.generator):
        rearrange(run.optimizer, change)
    metrics = {"guidance": float(distilled.norm.mean()), "opacity": float(rendering.alpha.detach().mean())}
    metrics |= {name: float(term.detach()) for name, term in terms.items()}
    shown = plan.preview_every and (run.step % plan.preview_every == 0 or run.step == plan.steps)
    preview = _preview(run.scene, rendering, cameras, progress) if shown else None
    return Step(run.step, plan.steps, float(loss.detach()), metrics, preview)


def _render(run: Run, progress: float) -> tuple[Rendering, Cameras, Tensor]:
    """The step's views of the scene, and the generator's state before they were rendered."""
    plan, distiller, scene, generator = run.plan, run.distiller, run.scene, run.generator
    size, views = plan.milestones.at(progress)
    draws = generator.get_state()
    scene.update(progress, run.step, generator)
    if distiller.original is not None:
        distiller.original.update(progress, run.step, draws)
    cameras = distiller.cameras.sample(views, size, size, generator).to(distiller.prior.device)
    draws = generator.get_state()
    normals = plan.regularization.needs_normals
    rendering = scene.render(cameras, progress=progress, generator=generator, normals=normals)
    opacity = rendering.alpha.detach()
    rendering.color.register_hook(lambda gradient: distiller.guidance.on_image_gradient(gradient, opacity))
    return rendering, cameras, draws


def _view(
    run: Run, rendering: Rendering, cameras: Cameras, progress: float, draws: Tensor
) -> tuple[Encoded, NoisyView]:
    """Encode and noise the renders; an original is rendered from the generator's state `draws`, as the scene was."""
    distiller, generator = run.distiller, run.generator
    t = distiller.levels.draw(progress, len(cameras), generator, cameras.group)
    before_encoding = generator.get_state()
    encoded = distiller.prior.encode_apart(rendering.color, generator)
    guide = distiller.guide.at(cameras, progress, source=generator)
    original = None
    if distiller.original is not None:
        original = distiller.original.view(distiller.prior, guide, cameras, progress, draws, before_encoding)
    clean, seen = encoded.latents, encoded.images
    noise = distiller.noise.draw(clean.detach(), generator)
    view = noisy_view(distiller.prior, clean, t, guide, cameras, generator, noise, progress, original, seen)
    return encoded, view


def _apply(run: Run, loss: Tensor, progress: float) -> bool:
    for name, group in zip(run.names, run.optimizer.param_groups, strict=True):
        group["lr"] = value_at(getattr(run.plan.rates, name), progress)
    return _descend(run.optimizer, loss)


def _learn(run: Run, view: NoisyView) -> bool:
    """Let the learnt reference follow the renders; False where a number is not finite."""
    if run.learner is None:
        return True
    guidance, still = run.distiller.guidance, replace(view, clean=view.clean.detach())
    for _ in range(guidance.pace().updates):
        loss = guidance.fit(run.distiller.prior, still, run.state)
        if loss is not None and not _descend(run.learner, loss):
            return False
    return True


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> bool:
    """One optimiser step; False, with nothing changed, where the loss or a gradient is not finite."""
    optimizer.zero_grad(set_to_none=True)
    if not loss.isfinite():
        return False
    loss.backward()
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    # The sum of a tensor is finite exactly when all its elements are (barring overflow, which is as bad).
    if not torch.stack([gradient.sum() for gradient in gradients]).isfinite().all():
        return False
    optimizer.step()
    return True


def _roll_back(run: Run, good: Checkpoint, failures: int) -> Step:
    failed = run.step + 1
    if failures > run.plan.patience:
        raise Diverged(
            f"step {failed} gave NaN or infinite numbers {failures} times in a row, with different random numbers each "
            "time. Try lower learning rates (--set training.rates.encoding=0.005), a lower guidance scale, or float32."
        )
    rollbacks = run.rollbacks + 1
    run.restore(good)
    run.rollbacks = rollbacks
    # The same random numbers would lead to the same NaN.
    run.generator.manual_seed(run.seed + 1_000_003 * rollbacks)
    note = f"step {failed} was not finite: back to step {run.step} with fresh random numbers"
    return Step(run.step, run.plan.steps, float("nan"), note=note)


@torch.no_grad()
def _preview(scene: Scene, rendering: Rendering, cameras: Cameras, progress: float) -> Rendering:
    """The views of the step, detached; normals are rendered for them where the step itself had no use for any."""
    normal = rendering.normal
    if normal is None:
        # Without a generator: a run is the same whether or not somebody looks at it.
        normal = scene.render(cameras, progress=progress, normals=True).normal
    normal = None if normal is None else normal.detach()
    return Rendering(rendering.color.detach(), rendering.alpha.detach(), rendering.depth.detach(), normal)
