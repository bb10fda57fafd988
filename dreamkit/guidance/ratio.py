"""How much denser the prior is than the renders where a noisy view lies: estimates of `log p_t / q_t`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.divergence import log_ratio
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class AbstractRatio(ABC):
    """An estimate of the ratio that weighs a view. What it learns is part of its guidance's state."""

    def init(self, prior: AbstractPrior, like: Tensor) -> nn.Module | None:
        """What the estimate learns and remembers, in the type and on the device of `like`; None where nothing is."""
        return None

    def path(self, noised: Float[Tensor, "batch *latent"]) -> Float[Tensor, "points batch *latent"]:
        """Where the estimate needs the predictions' difference; the last point is `x_t` itself."""
        return noised.unsqueeze(0)

    def slope(self, noised: Float[Tensor, "batch *latent"]) -> float:
        """By how much of `grad log r` the estimate changes with `x_t`: 1 unless it is divided by something."""
        return 1.0

    @abstractmethod
    def log_ratio(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, apart: Float[Tensor, "points batch *latent"]
    ) -> Float[Tensor, " batch"]:
        """`log r` at `x_t`, without a graph; `apart` is `eps_guided - eps_phi` along the path."""

    def fit(self, prior: AbstractPrior, view: NoisyView, memory: Remembering) -> Float[Tensor, ""] | None:
        """The loss of what is learnt; None where nothing is."""
        return None


@dataclass(frozen=True)
class LineIntegral(AbstractRatio):
    """`log r(x_t) - log r(0)` by the score difference on the way between them; nothing is learnt.

    Method card 12.1. All views of a level share the start of the way, so that what is left out depends on the level
    only, and the mean ratio there, which is 1, gives it back. Divided by a number of dimensions, as in many the ratio
    is never near 1; the mean is then only roughly 1. Raises ValueError for less than two points and for negative
    dimensions.
    """

    points: int = 2
    "Of the integral; each costs the prior and the student as many rows as the one at x_t."
    dimensions: float = 0.0
    "log r is divided by this effective number of dimensions; 0 for the number of elements of a latent."

    def __post_init__(self) -> None:
        if self.points < 2 or self.dimensions < 0:
            raise ValueError(f"the line integral needs points >= 2 and dimensions >= 0; got {self}")

    def path(self, noised: Float[Tensor, "batch *latent"]) -> Float[Tensor, "points batch *latent"]:
        return torch.stack([noised * (k / (self.points - 1)) for k in range(self.points)])

    def slope(self, noised: Float[Tensor, "batch *latent"]) -> float:
        return 1 / (self.dimensions or noised[0].numel())

    def log_ratio(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, apart: Float[Tensor, "points batch *latent"]
    ) -> Float[Tensor, " batch"]:
        _, sigma = prior.schedule.at(view.t, view.noised)
        whole = log_ratio(-apart / sigma, view.noised)
        return memory.centred(whole * self.slope(view.noised), view.t)
