"""The training loop: a scene, a prior and a guidance in, a stream of `Step`s out.

Readers (command line, app, notebook) only iterate; the loop knows nothing of them. Stop iterating and the run stops.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dreamkit.cameras import Cameras, OrbitSampler
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.levels import AbstractLevels
from dreamkit.guidance.noise import AbstractNoise, Fresh
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.encoding import Encoded
from dreamkit.priors.guide import TextGuide
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering, Step
from dreamkit.schedules import value_at
from dreamkit.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_latest,
    optimizer_tensors,
    prefixed,
    restore_optimizer,
    save_checkpoint,
)
from dreamkit.training.original import Original
from dreamkit.training.plan import TrainingPlan
from dreamkit.training.rearrange import rearrange


class Diverged(ArithmeticError):
    """A run kept producing NaN; the message says where, and what to try."""


@dataclass(frozen=True)
class Distiller:
    """What pulls at a scene: the prior, what it is told, the guidance, and which levels and cameras it visits."""

    prior: AbstractPrior
    guide: TextGuide
    guidance: AbstractGuidance
    levels: AbstractLevels
    cameras: OrbitSampler
    noise: AbstractNoise = field(default_factory=Fresh)
    original: Original | None = None
    "The scene that an edit starts from, for guidances that compare with it."


class Run:
    """Everything that changes while a scene is optimised, and how to save it to the last bit."""

    def __init__(self, scene: Scene, distiller: Distiller, plan: TrainingPlan, seed: int) -> None:
        self.scene, self.distiller, self.plan, self.seed = scene, distiller, plan, seed
        # On the CPU whatever the device: the same seed draws the same numbers everywhere.
        self.generator = torch.Generator().manual_seed(seed)
        self.state = distiller.guidance.init(distiller.prior)
        groups = scene.parameter_groups()
        self.names = [group.name for group in groups]
        self.optimizer = torch.optim.Adam(
            [{"params": list(group.parameters)} for group in groups], lr=1e-3, betas=plan.betas, eps=plan.eps
        )
        self.learner = _learner(self.state, distiller.guidance.pace().rate)
        self.step, self.rollbacks = 0, 0

    def checkpoint(self) -> Checkpoint:
        """The whole state, as tensors and plain facts."""
        tensors = prefixed("scene", self.scene.state_dict()) | {"generator": self.generator.get_state()}
        tensors |= prefixed("optimizer", optimizer_tensors(self.optimizer))
        if self.state is not None:
            tensors |= prefixed("guidance", self.state.state_dict())
        if self.learner is not None:
            tensors |= prefixed("learner", optimizer_tensors(self.learner))
        if self.distiller.original is not None:
            tensors |= prefixed("original", self.distiller.original.scene.state_dict())
        facts = {"step": self.step, "steps": self.plan.steps, "seed": self.seed, "rollbacks": self.rollbacks}
        copies = {name: value.detach().clone() for name, value in tensors.items()}
        return Checkpoint(copies, {name: str(value) for name, value in facts.items()})

    def restore(self, stored: Checkpoint) -> None:
        """Go back to a checkpoint; raises DamagedCheckpoint where it belongs to another run."""
        for name, mine in (("seed", self.seed), ("steps", self.plan.steps)):
            if stored.facts.get(name) != str(mine):
                raise DamagedCheckpoint(
                    f"the checkpoint was made with {name}={stored.facts.get(name)}, and this run has {name}={mine}; "
                    f"resume with the settings of the recipe.toml beside it, or start in another folder"
                )
        try:
            self.scene.load_state_dict(stored.part("scene"))
        except RuntimeError as error:
            raise DamagedCheckpoint(f"the checkpoint holds another kind of scene: {error}") from error
        restore_optimizer(self.optimizer, stored.part("optimizer"))
        self.generator.set_state(stored.tensors["generator"])
        if self.state is not None:
            self.state.load_state_dict(stored.part("guidance"))
        if self.learner is not None:
            restore_optimizer(self.learner, stored.part("learner"))
        if self.distiller.original is not None:
            self.distiller.original.scene.load_state_dict(stored.part("original"))
        self.step, self.rollbacks = int(stored.facts["step"]), int(stored.facts["rollbacks"])


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
    plan, distiller = run.plan, run.distiller
    progress = run.step / plan.steps
    size, views = plan.milestones.at(progress)
    draws = run.generator.get_state()
    run.scene.update(progress, run.step, run.generator)
    if distiller.original is not None:
        distiller.original.update(progress, run.step, draws)
    device = distiller.prior.device
    cameras = distiller.cameras.sample(views, size, size, run.generator).to(device)
    needs_normals = plan.regularization.needs_normals
    draws = run.generator.get_state()
    rendering = run.scene.render(cameras, progress=progress, generator=run.generator, normals=needs_normals)
    opacity = rendering.alpha.detach()
    rendering.color.register_hook(lambda gradient: distiller.guidance.on_image_gradient(gradient, opacity))
    encoded, view = _view(run, rendering, cameras, progress, draws)
    distilled = distill(distiller.guidance, distiller.prior, view, run.state)
    terms = plan.regularization.terms(rendering, progress)
    terms |= plan.material.terms(run.scene, rendering, cameras, progress, run.generator)
    loss = distilled.loss + sum(terms.values())
    if not loss.isfinite():
        return None
    # Its gradient at the renders is the distilled one; the encoder's part of the chain rule lies behind it already.
    pull = (rendering.color * encoded.image_gradient(distilled.loss)).sum()
    if not _apply(run, pull + sum(terms.values()), progress):
        return None
    if not _learn(run, view):
        return None
    run.step += 1
    for change in run.scene.adapt(rendering, run.step, progress, run.generator):
        rearrange(run.optimizer, change)
    metrics = {"guidance": float(distilled.norm.mean()), "opacity": float(rendering.alpha.detach().mean())}
    metrics |= {name: float(term.detach()) for name, term in terms.items()}
    shown = plan.preview_every and (run.step % plan.preview_every == 0 or run.step == plan.steps)
    preview = _preview(run.scene, rendering, cameras, progress) if shown else None
    return Step(run.step, plan.steps, float(loss.detach()), metrics, preview)


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


def _learner(state: nn.Module | None, rate: float) -> torch.optim.Optimizer | None:
    learnt = [] if state is None else [p for p in state.parameters() if p.requires_grad]
    return torch.optim.AdamW(learnt, lr=rate) if learnt else None


@torch.no_grad()
def _preview(scene: Scene, rendering: Rendering, cameras: Cameras, progress: float) -> Rendering:
    """The views of the step, detached; normals are rendered for them where the step itself had no use for any."""
    normal = rendering.normal
    if normal is None:
        # Without a generator: a run is the same whether or not somebody looks at it.
        normal = scene.render(cameras, progress=progress, normals=True).normal
    normal = None if normal is None else normal.detach()
    return Rendering(rendering.color.detach(), rendering.alpha.detach(), rendering.depth.detach(), normal)
