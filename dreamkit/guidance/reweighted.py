"""What f-distill and Uni-Instruct share: a weight for each view, from a divergence and a density ratio."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.divergence import divergence_weight
from dreamkit.guidance.learnt import AbstractLearnt, state_of
from dreamkit.guidance.ratio import AbstractRatio, LineIntegral
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import GuidedViews
from dreamkit.priors.student import AbstractStudent, camera_numbers


@dataclass(frozen=True)
class AbstractReweighted(AbstractLearnt):
    """`h(r) / mean h` for each view, `r = clip(exp(clip(log r, -10, 10)))` (method card 12.1).

    The mean runs over the last `window` views: with the batch's own, a batch of one view would have the weight 1,
    whatever its ratio. Raises ValueError for unknown divergences and limits that do not fit.
    """

    divergence: str = "jensen_shannon"
    ratio: AbstractRatio = field(default_factory=LineIntegral)
    'Written in a recipe as `ratio = { type = "discriminator" }`.'
    window: int = 64
    clip: tuple[float, float] = (0.1, 20.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        divergence_weight(self.divergence, torch.ones(1))
        if self.window < 2 or not 0 < self.clip[0] <= 1 <= self.clip[1]:
            # A window of one view would make every weight 1, and the method VSD (pitfall 16).
            raise ValueError(f"weights need window >= 2 and a clip around 1; got {self}")

    def init(self, prior: AbstractPrior) -> nn.Module | None:
        student = prior.student(self.rank)
        like = next(student.parameters())
        return Remembering(student, self.window, like, self.ratio.init(prior, like))

    def weights(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, apart: Float[Tensor, "points batch *latent"]
    ) -> Float[Tensor, " batch"]:
        """The weight of each view, without a graph; `apart` is `eps_guided - eps_phi` along the ratio's path."""
        return memory.normalize(divergence_weight(self.divergence, self.clipped(prior, view, memory, apart)))

    def clipped(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, apart: Float[Tensor, "points batch *latent"]
    ) -> Float[Tensor, " batch"]:
        """`r` of each view."""
        return self.ratio.log_ratio(prior, view, memory, apart).clamp(-10, 10).exp().clamp(*self.clip)

    def fit(self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None) -> Float[Tensor, ""] | None:
        """The student's loss and that of the ratio; they share no parameters, so that their sum trains each alone."""
        memory = state_of(state, Remembering)
        loss, ratio = super().fit(prior, view, memory.student), self.ratio.fit(prior, view, memory)
        return loss if loss is None or ratio is None else loss + ratio


def difference(
    prior: AbstractPrior, view: NoisyView, student: AbstractStudent, path: Float[Tensor, "points batch *latent"]
) -> Float[Tensor, "points batch *latent"]:
    """`eps_guided(x, y) - eps_phi(x, c, y)` at the view's levels: one call of each network for all points."""
    points, noised = len(path), path.flatten(0, 1)
    t, guide = view.t.repeat(points), GuidedViews.cat([view.guide] * points)
    camera = camera_numbers(view.cameras, view.noised).repeat(points, 1)
    apart = guide.predict(prior, noised, t) - student.predict_noise(noised, t, guide.plain, camera)
    return apart.view_as(path)
