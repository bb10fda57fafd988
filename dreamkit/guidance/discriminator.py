"""A density ratio that is learnt: a small head tells the prior's own samples from the renders, at every noise level."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.guidance.base import NoisyView
from dreamkit.guidance.inversion import ddim_step
from dreamkit.guidance.learnt import LEVELS, state_of
from dreamkit.guidance.ratio import AbstractRatio
from dreamkit.guidance.remembering import Remembering
from dreamkit.priors.base import AbstractPrior, Conditioning
from dreamkit.priors.draws import normal, uniform

HIGHEST = 980
"Where samples start: at the very last levels a flow is pure noise, and its clean estimate is 0/0."


class Head(nn.Module):
    """Three layers on the prior's features of `x_t`, alike at all places; the logit is the mean over the places.

    It begins at 0: nothing is told apart, `r = 1`. It also holds the prior's samples, those `made` so far.
    """

    samples: Tensor
    made: Tensor

    def __init__(self, features: int, hidden: int, speed: float, samples: Float[Tensor, "samples *latent"]) -> None:
        """`speed`: how many times faster it learns than a student at the same rate."""
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        sizes = [(hidden, features + 2), (hidden, hidden), (1, hidden)]
        first = [torch.randn(out, into, generator=generator) / into**0.5 for out, into in sizes]
        first[-1].zero_()
        # Stored divided by the speed: the optimiser's steps have one size, whatever the scale of what they change.
        self.weights = nn.ParameterList([nn.Parameter(w.to(samples) / speed) for w in first])
        self.biases = nn.ParameterList([nn.Parameter(samples.new_zeros(out)) for out, _ in sizes])
        self.speed = speed
        self.register_buffer("samples", samples)
        self.register_buffer("made", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        prior: AbstractPrior,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        differentiable: bool = False,
    ) -> Float[Tensor, " batch"]:
        """The logit of "a sample of the prior" at levels t; a graph to `noised` only where it is `differentiable`."""
        features = prior.features(noised, t, condition, differentiable)
        x = features.reshape(*features.shape[:2], -1).mT.to(self.samples)
        level = torch.cat(prior.schedule.at(t, x.new_zeros(len(x), 1)), dim=1)
        x = torch.cat([x, level.unsqueeze(1).expand(-1, x.shape[1], -1)], dim=2)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = functional.linear(functional.silu(x) if index else x, self.speed * weight, self.speed * bias)
        return x.flatten(1).mean(dim=1)

    def pull(self, prior: AbstractPrior, view: NoisyView) -> Float[Tensor, "batch *latent"]:
        """`d softplus(-logit(x_t)) / dx`: the generator's side of the game, which needs a graph of the prior."""
        with torch.enable_grad():
            clean = view.clean.detach().requires_grad_()
            noised = prior.schedule.add_noise(clean, view.noise, view.t)
            losses = functional.softplus(-self(prior, noised, view.t, view.guide.null, differentiable=True))
            return torch.autograd.grad(losses.sum(), clean)[0]


@dataclass(frozen=True)
class Discriminator(AbstractRatio):
    """`log r` is the logit of a head that is trained by `softplus(-D(real_t)) + softplus(D(fake_t))`.

    Source: f-distill, arXiv 2502.15681; method card 12.1. Real are samples of the guided prior, made as the run begins
    for the prompts and views that it visits, a batch at each of the first calls of `fit`; fake are the renders. So the
    ratio is to the same prior that the score belongs to, its guidance included. The head reads the prior's features
    under the empty prompt, and knows no camera. Does not do the paper's R1 penalty. Raises ValueError for numbers that
    do not fit.
    """

    samples: int = 200
    "How many of the prior's samples there are; each takes `steps` guided predictions."
    steps: int = 20
    hidden: int = 64
    speed: float = 10.0
    "How many times faster than the student the head learns."

    def __post_init__(self) -> None:
        if min(self.samples, self.steps, self.hidden) < 1 or self.speed <= 0:
            raise ValueError(f"a discriminator needs samples, steps and hidden >= 1 and speed > 0; got {self}")

    def init(self, prior: AbstractPrior, like: Tensor) -> nn.Module | None:
        room = torch.zeros(self.samples, *prior.latent_shape, dtype=like.dtype, device=like.device)
        level = torch.full((1,), LEVELS // 2, device=prior.device)
        features = prior.features(room[:1], level, prior.embed([""])).shape[1]
        return Head(features, self.hidden, self.speed, room)

    def log_ratio(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, apart: Float[Tensor, "points batch *latent"]
    ) -> Float[Tensor, " batch"]:
        head = state_of(memory.head, Head)
        with torch.no_grad():
            return head(prior, view.noised, view.t, view.guide.null).to(apart)

    def fit(self, prior: AbstractPrior, view: NoisyView, memory: Remembering) -> Float[Tensor, ""] | None:
        head, count = state_of(memory.head, Head), len(view.t)
        if head.made < self.samples:
            self._remember(head, draw_samples(prior, view, self.steps))
        t = (uniform(count, view.source, view.cameras.group) * LEVELS).long().to(view.t.device)
        chosen = (uniform(count, view.source) * head.made.cpu()).long().to(view.t.device)
        fake = view.clean.detach()
        pair = [prior.schedule.add_noise(x, normal(x, view.source), t) for x in (head.samples[chosen].to(fake), fake)]
        null = Conditioning.cat([view.guide.null] * 2)
        real_logit, fake_logit = head(prior, torch.cat(pair), t.repeat(2), null).chunk(2)
        return (functional.softplus(-real_logit) + functional.softplus(fake_logit)).mean()

    def _remember(self, head: Head, fresh: Float[Tensor, "batch *latent"]) -> None:
        start = int(head.made)
        fresh = fresh[: self.samples - start]
        head.samples[start : start + len(fresh)] = fresh.to(head.samples)
        head.made += len(fresh)


@torch.no_grad()
def draw_samples(prior: AbstractPrior, view: NoisyView, steps: int) -> Float[Tensor, "batch *latent"]:
    """One clean sample of the guided prior for each view, by DDIM (arXiv 2010.02502) over evenly spaced levels."""
    noise, count = normal(view.clean.detach(), view.source), len(view.t)
    levels = torch.linspace(HIGHEST, 0, steps).long().to(view.t.device).unsqueeze(1).expand(-1, count)
    x = prior.schedule.add_noise(torch.zeros_like(noise), noise, levels[0])
    for start, end in pairwise(levels):
        x = ddim_step(prior.schedule, x, view.guide.predict(prior, x, start), start, end)
    return prior.schedule.denoise(x, view.guide.predict(prior, x, levels[-1]), levels[-1])
