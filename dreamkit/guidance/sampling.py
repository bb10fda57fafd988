"""Samples of the guided prior, for a discriminator to compare renders with."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.guidance.inversion import ddim_step
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.draws import normal

HIGHEST = 980
"Where samples start: at the very last levels a flow is pure noise, and its clean estimate is 0/0."


@torch.no_grad()
def draw_samples(prior: AbstractPrior, view: NoisyView, steps: int) -> Float[Tensor, "batch *latent"]:
    """One clean sample of the guided prior for each view, by DDIM (arXiv 2010.02502) over evenly spaced levels."""
    noise, count = normal(view.clean.detach(), view.source), len(view.t)
    levels = torch.linspace(HIGHEST, 0, steps).long().to(view.t.device).unsqueeze(1).expand(-1, count)
    x = prior.schedule.add_noise(torch.zeros_like(noise), noise, levels[0])
    for start, end in pairwise(levels):
        x = ddim_step(prior.schedule, x, view.guide.predict(prior, x, start), start, end)
    return prior.schedule.denoise(x, view.guide.predict(prior, x, levels[-1]), levels[-1])
