"""Score debiasing: no element of the residual is larger than a bound that grows."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.wrapper import AbstractWrapper
from dreamkit.priors.base import AbstractPrior
from dreamkit.schedules import Ramp, Schedule, value_at


@dataclass(frozen=True)
class ScoreClamp(AbstractWrapper):
    """`G = clamp(G_inner, -c, c)`, element by element (Hong et al., arXiv 2303.15413; method card 13.5).

    The clamp is on G itself, before the division by the number of views. Changes G's direction.
    """

    bound: Schedule = field(default_factory=lambda: Ramp(2.0, 8.0))
    "c: 2 to 8 for latent models, 0.5 to 2 for pixel models."
    paper: ClassVar[str] = "2303.15413"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        bound = value_at(self.bound, view.progress)
        return self.inner.residual(prior, view, state).clamp(-bound, bound)
