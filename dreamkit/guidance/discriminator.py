"""A density ratio that is learnt: a small head tells the prior's own samples from the renders, at every noise level."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.guidance.head import Head
from dreamkit.guidance.learnt import state_of
from dreamkit.guidance.lessons import LEVELS
from dreamkit.guidance.ratio import AbstractRatio
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.sampling import draw_samples
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import normal, uniform


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
