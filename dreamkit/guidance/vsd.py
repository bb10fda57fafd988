"""VSD: the variational score distillation of ProlificDreamer."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.learnt import AbstractLearnt, reference_noise, student_of
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.student import camera_numbers
from dreamkit.priors.student_prior import StudentPrior


@dataclass(frozen=True)
class VSD(AbstractLearnt):
    """`G = w(t) (eps_guided(x_t, t, y) - eps_phi(x_t, t, c, y))` (Wang et al., arXiv 2305.16213; method card 2).

    With an ideal student the mean of G is `w(t) (sigma_t / alpha_t)` times the gradient of `KL(q_t | p_t)`, q being the
    distribution of renders: on a Gaussian prior, particles end with its mean and its variance. `guided_reference` is
    SwiftBrush's choice (arXiv 2312.05239; card 12.6): the student is guided by the text as strongly as the prior, and
    learns its answer to the empty prompt by `text_dropout` (0.1 there). Raises ValueError for an unknown weighting, a
    dropout that is no share, and a guided student that never learns without a prompt.
    """

    weighting: str = "sds"
    camera_scale: float = 1.0
    "s_phi: `eps_phi(any) + s_phi (eps_phi(c) - eps_phi(any))`."
    guided_reference: bool = False
    paper: ClassVar[str] = "2305.16213"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.weighting)
        if self.guided_reference and self.text_dropout == 0:
            raise ValueError(
                "guided_reference asks the student without a prompt, and text_dropout=0 never trains that: 0.1"
            )

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        attract = view.guide.predict(prior, view.noised, view.t)
        if self.guided_reference:
            seen = StudentPrior(prior, student_of(state), camera_numbers(view.cameras, view.noised))
            reference = view.guide.predict(seen, view.noised, view.t)
        else:
            reference = reference_noise(student_of(state), view, 1 - self.camera_scale)
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - reference)
