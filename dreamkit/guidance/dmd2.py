"""DMD2: VSD with a scale-free gradient and a student that learns faster than the scene."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import Learning
from dreamkit.guidance.learnt import AbstractLearnt, reference_noise, student_of
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class DMD2(AbstractLearnt):
    """`G = ((x - D) - (x - D_phi)) / mean |x - D|`, D and D_phi the guided prior's and the student's clean estimates.

    Source: Yin et al., arXiv 2405.14867; method card 12.4. The direction is VSD's; the normaliser, the mean over a
    view, takes the place of `w(t)`. The student makes several steps for each of the scene's. Does not do the GAN term.
    """

    learning: Learning = field(default_factory=lambda: Learning(updates=5))
    paper: ClassVar[str] = "2405.14867"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        clean, schedule = view.clean.detach(), prior.schedule
        real = schedule.denoise(view.noised, view.guide.predict(prior, view.noised, view.t), view.t)
        fake = schedule.denoise(view.noised, reference_noise(student_of(state), view, 0.0), view.t)
        return normalized(clean - real, clean - fake)


def normalized(
    real: Float[Tensor, "batch *latent"], fake: Float[Tensor, "batch *latent"]
) -> Float[Tensor, "batch *latent"]:
    """`(p_real - p_fake) / mean |p_real|`, for each view; a common factor of both changes nothing."""
    size = real.abs().flatten(1).mean(dim=1).clamp_min(1e-12)
    return (real - fake) / size.view(-1, *[1] * (real.ndim - 1))
