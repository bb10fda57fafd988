"""CSD: classifier score distillation, the text's pull alone."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.schedules import Schedule, value_at


@dataclass(frozen=True)
class CSD(AbstractGuidance):
    """`G = w(t) (eps(y) - (1 - q) eps(null) - q eps(y-))` (Yu et al., arXiv 2310.19415; method card 5.4).

    y- is the negative prompt and q, the share of the reference that it makes up, may move over the run. The weights add
    up to zero, so that no noise is left in the mean. With q = 0 this is the difference of SDS at the scales s and
    s - 1. Reads neither the guidance scale nor the shaping. Raises ValueError for an unknown weighting.
    """

    weighting: str = "uniform"
    negative: Schedule = 0.0
    "q: 0 to 1 over the run in the paper's coarse stage, 1 to 0.5 in its fine one."
    paper: ClassVar[str] = "2310.19415"

    def __post_init__(self) -> None:
        check_name(self.weighting)

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        q = value_at(self.negative, view.progress)
        parts = [(view.guide.null, 1 - q), (view.guide.negative, q)]
        parts = [(condition, share) for condition, share in parts if share]
        conditions = [view.guide.positive, *(condition for condition, _ in parts)]
        attract, *others = prior.predict_each(view.noised, view.t, conditions)
        reference = sum(share * eps for eps, (_, share) in zip(others, parts, strict=True))
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - reference)
