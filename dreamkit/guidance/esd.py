"""ESD: entropic score distillation, which pushes the views of a scene apart."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.learnt import AbstractLearnt, reference_noise, student_of
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.schedules import Schedule, value_at


@dataclass(frozen=True)
class ESD(AbstractLearnt):
    """`G = w(t) (eps_guided(x_t, y) - [lambda eps_phi(x_t, any camera) + (1 - lambda) eps_phi(x_t, c)])`.

    Source: Wang et al., arXiv 2401.00909; method card 3. Cross-entropy minus lambda times the entropy of the renders of
    all views together. `lambda` 0 is VSD, 1 knows no cameras; it acts where `lambda > r^2 / (s^2 + r^2)`, with
    `r = sigma_t / alpha_t` and the prior's deviation s, hence first at low levels. Needs a student that learns with
    camera dropout. Raises ValueError for an unknown weighting, and for a dropout that is no share or 0.
    """

    weighting: str = "sds"
    entropy: Schedule = 0.5
    "lambda."
    paper: ClassVar[str] = "2401.00909"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.weighting)
        if self.dropout == 0:
            raise ValueError("ESD compares with a student that knows no camera, and dropout=0 never trains it: try 0.1")

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        attract = view.guide.predict(prior, view.noised, view.t)
        reference = reference_noise(student_of(state), view, value_at(self.entropy, view.progress))
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - reference)
