"""What a student learns from: levels, noise, and what it is told of cameras and prompts."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.guidance.view import NoisyView
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import normal, uniform
from dreamkit.priors.student import camera_numbers

LEVELS = 1000
"Students learn at all levels, whatever window the scene is pulled in."


def fresh_draws(
    view: NoisyView, dropout: float
) -> tuple[Int[Tensor, " batch"], Float[Tensor, "batch *latent"], Float[Tensor, "batch 16"]]:
    """Levels, noise and cameras to learn from; a share `dropout` of the cameras is zero, drawn for each view."""
    count, group = len(view.t), view.cameras.group
    t = (uniform(count, view.source, group) * LEVELS).long().to(view.t.device)
    kept = (uniform(count, view.source) >= dropout).to(view.noised)
    camera = camera_numbers(view.cameras, view.noised) * kept.unsqueeze(1)
    return t, normal(view.clean.detach(), view.source), camera


def told(view: NoisyView, dropout: float) -> Conditioning:
    """The plain prompts; a share `dropout` of them is empty, drawn for each view. A share of 0 draws nothing."""
    if dropout == 0:
        return view.guide.plain
    count = len(view.t)
    dropped = (uniform(count, view.source) < dropout).to(view.t.device)
    rows = torch.arange(count, device=view.t.device) + count * dropped
    return Conditioning.cat([view.guide.plain, view.guide.null])[rows]
