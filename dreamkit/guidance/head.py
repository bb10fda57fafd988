"""A small network that tells a prior's own samples from renders, by what the prior makes of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning


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
