"""One step of SDS on images, for priors of every family."""

import torch

from dreamkit.cameras import orbit
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import noisy_view
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts


def sds_gradient(prior: AbstractPrior, generator: torch.Generator, **options) -> torch.Tensor:
    """dL/dI of one SDS step on two views of 24 pixels, which the prior resizes."""
    images = torch.rand(2, 24, 24, 3, generator=generator).requires_grad_()
    cameras = orbit([0.0, 120.0])
    guide = TextGuide(embed_prompts(prior, [ViewWording().prompts("a red mug")]), scale=7.5, **options)
    clean = prior.encode(images, generator)
    view = noisy_view(prior, clean, torch.tensor([300, 700]), guide.at(cameras), cameras, generator)
    distill(SDS(), prior, view).loss.backward()
    assert images.grad is not None
    return images.grad
