"""A supervised training run that can be stopped and resumed: AdamW, warm-up and cosine decay, averaged weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dreamkit.rendering import Step
from dreamkit.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    prefixed,
    restore_optimizer,
    save_checkpoint,
)


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast."""

    steps: int
    batch: int
    rate: float
    warmup: int = 200
    decay: float = 0.01
    averaging: float = 0.999
    "Weight that the running average of the parameters keeps at each step (EMA)."
    save_every: int = 250
    final_rate: float = 0.02
    "Share of the rate that is left at the end."

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to `final_rate * rate`."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def fit(
    model: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    examples: int,
    plan: FitPlan,
    path: Path,
    seed: int,
) -> Iterator[Step]:
    """Train `model` on random batches of `examples`, and leave the averaged weights in it.

    `loss` maps the indices of a batch, and the generator of this step, to a scalar. The run goes on from `path` where
    that checkpoint exists; batches depend on the seed and the step alone, so a resumed run sees what it would have.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=plan.decay)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    start = _resume(model, optimizer, average, path) if path.exists() else 0
    for index in range(start, plan.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        batch = torch.randint(examples, (plan.batch,), generator=generator)
        value = loss(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(index)
        optimizer.step()
        _blend(average, model, min(plan.averaging, (index + 1) / (index + 10)))
        if (index + 1) % plan.save_every == 0 or index + 1 == plan.steps:
            _save(model, optimizer, average, path, index + 1)
        yield Step(index + 1, plan.steps, float(value.detach()), {"rate": plan.rate_at(index)})
    model.load_state_dict(average)


def averaged_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    """The averaged weights of a run, finished or not, and the number of steps behind them."""
    stored = load_checkpoint(path)
    return stored.part("average"), int(stored.facts["step"])


@torch.no_grad()
def _blend(average: dict[str, Tensor], model: nn.Module, keep: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)


def _save(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], path: Path, step: int
) -> None:
    tensors = prefixed("model", model.state_dict()) | prefixed("average", average)
    tensors |= prefixed("optimizer", optimizer_tensors(optimizer))
    save_checkpoint(path, Checkpoint(tensors, {"step": str(step)}))


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], path: Path) -> int:
    stored = load_checkpoint(path)
    model.load_state_dict(stored.part("model"))
    restore_optimizer(optimizer, stored.part("optimizer"))
    for name, value in stored.part("average").items():
        average[name].copy_(value)
    return int(stored.facts["step"])
