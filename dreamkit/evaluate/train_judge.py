"""Train the judge on pictures of the toy world, roughened so that it forgives what a generated asset gets wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from dreamkit.evaluate.judge import Judge
from dreamkit.rendering import Step
from dreamkit.toybox.dataset import ToyPictures, load_pictures, render_once
from dreamkit.toybox.fit import FitPlan, fit


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures on which the judge is right."""

    kind: float
    color: float
    view: float


PLAN = FitPlan(steps=5_000, batch=64, rate=3e-3, warmup=100, decay=0.02, averaging=0.99, save_every=100)


def train_judge(work: Path, out: Path, plan: FitPlan = PLAN, seed: int = 2, count: int = 28_000) -> Iterator[Step]:
    """Minimise the cross entropy of kind, colour and view; write half-precision weights to `out`.

    The last thousand of the pictures in `work`, which are rendered where they are missing, are kept for `accuracy`.
    """
    yield from render_once(work / "pictures.safetensors", count, seed=1)
    pictures = load_pictures(work / "pictures.safetensors")
    torch.manual_seed(seed)
    judge = Judge()

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        opinion = judge(roughened(pictures.images[batch].float() / 255, generator))
        labels = pictures.labels[batch].long()
        return (
            F.cross_entropy(opinion.kind, labels[:, 0], label_smoothing=0.05)
            + F.cross_entropy(opinion.color, labels[:, 1], label_smoothing=0.05)
            + F.cross_entropy(opinion.view, labels[:, 3], label_smoothing=0.05)
        )

    yield from fit(judge, loss, len(pictures) - 1_000, plan, work / "judge.safetensors", seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in judge.state_dict().items()}, out)


def roughened(images: Float[Tensor, "batch 64 64 3"], generator: torch.Generator) -> Float[Tensor, "batch 64 64 3"]:
    """Shifted, scaled, blurred, over-saturated and noisy: the ways in which distilled assets differ from toys."""
    batch = len(images)

    def draw(low: float, high: float) -> Float[Tensor, "batch 1 1 1"]:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    scale, shift = draw(0.85, 1.15), (torch.rand(batch, 2, generator=generator) - 0.5) * 0.2
    grid = F.affine_grid(torch.cat([torch.eye(2) * scale[:, 0], shift[..., None]], dim=2), [batch, 3, 64, 64], False)
    moved = F.grid_sample(images.permute(0, 3, 1, 2), grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(moved, soft, draw(0.0, 1.0))
    gray = x.mean(dim=1, keepdim=True)
    x = gray + (x - gray) * draw(0.7, 1.5)
    x = (x - 0.5) * draw(0.8, 1.3) + 0.5 + draw(-0.08, 0.08)
    x = x + torch.randn(x.shape, generator=generator) * draw(0.0, 0.06)
    return x.clamp(0, 1).permute(0, 2, 3, 1)


@torch.no_grad()
def accuracy(judge: Judge, pictures: ToyPictures) -> Accuracy:
    """How often the judge is right on pictures whose truth is known."""
    right = torch.zeros(3)
    for images, labels in zip(pictures.images.split(200), pictures.labels.split(200), strict=True):
        opinion = judge(images.float() / 255)
        for index, (logits, truth) in enumerate(((opinion.kind, 0), (opinion.color, 1), (opinion.view, 3))):
            right[index] += (logits.argmax(dim=1) == labels[:, truth]).sum()
    return Accuracy(*(right / len(pictures)).tolist())
