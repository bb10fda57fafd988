"""f-distill: VSD under another divergence than the reverse KL, less bent on one mode."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.discriminator import Discriminator
from dreamkit.guidance.head import Head
from dreamkit.guidance.learnt import state_of
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.reweighted import AbstractReweighted, difference
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class FDistill(AbstractReweighted):
    """`G = w(t) h(r) / mean h (eps_guided(x_t, y) - eps_phi(x_t, c, y))`, `r = p_t / q_t` (method card 12.1).

    Source: Xu et al., arXiv 2502.15681, who take r from a `Discriminator`; the default is the line integral of the
    score difference, which needs none. h belongs to a divergence, and 1 (the reverse KL) gives VSD. `adversarial` adds
    the paper's generator loss, `d softplus(-logit(x_t)) / dx`, through the prior's network. Raises ValueError for
    unknown names, limits that do not fit, and an adversarial term without a discriminator.
    """

    weighting: str = "sds"
    adversarial: float = 0.0
    "Weight of the generator loss; the paper has 1e-3 for Stable Diffusion 1.5."
    paper: ClassVar[str] = "2502.15681"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.weighting)
        if self.adversarial and not isinstance(self.ratio, Discriminator):
            raise ValueError("the adversarial term of f-distill needs ratio = { type = 'discriminator' }")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        memory = state_of(state, Remembering)
        apart = difference(prior, view, memory.student, self.ratio.path(view.noised))
        h = self.weights(prior, view, memory, apart).view(-1, *[1] * (view.noised.ndim - 1))
        pull = weight(self.weighting, prior.schedule, view.t, view.noised) * h * apart[-1]
        if not self.adversarial:
            return pull
        return pull + self.adversarial * state_of(memory.head, Head).pull(prior, view)
