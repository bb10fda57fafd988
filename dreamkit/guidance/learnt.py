"""What the methods share that learn a reference: a student of the prior, its cameras, and how it is trained."""

from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance, Learning
from dreamkit.guidance.lessons import fresh_draws, told
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.student import AbstractStudent, camera_numbers

State = TypeVar("State", bound=nn.Module)


@dataclass(frozen=True)
class AbstractLearnt(AbstractGuidance):
    """`fit` is `mean |f_phi(x_t', t', c, y) - target|^2` on still renders (arXiv 2305.16213; method card 2).

    t' is uniform over all levels, and t' and eps' are drawn apart from the view's own. The prompt is the plain one: the
    student learns the view from the camera. Raises ValueError for shares outside [0, 1].
    """

    rank: int = 4
    "Of the student's low-rank changes, where it has them."
    dropout: float = 0.1
    "Share of the views whose camera the student is not told while it learns."
    text_dropout: float = 0.0
    "Share of the views whose prompt it is not told: for methods that ask it under the empty prompt."
    learning: Learning = field(default_factory=Learning)

    def __post_init__(self) -> None:
        check_share("dropout", self.dropout)
        check_share("text_dropout", self.text_dropout)

    def init(self, prior: AbstractPrior) -> nn.Module | None:
        return prior.student(self.rank)

    def pace(self) -> Learning:
        return self.learning

    def fit(self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None) -> Float[Tensor, ""] | None:
        t, noise, camera = fresh_draws(view, self.dropout)
        return student_of(state).loss(view.clean, noise, t, told(view, self.text_dropout), camera)


def student_of(state: nn.Module | None) -> AbstractStudent:
    """The state as a student; raises TypeError for anything else."""
    return state_of(state, AbstractStudent)


def state_of(state: nn.Module | None, kind: type[State]) -> State:
    """The state as what the method's init made of it; raises TypeError for anything else."""
    if not isinstance(state, kind):
        raise TypeError(f"this method's state is the {kind.__name__} that init makes; got {type(state).__name__}")
    return state


def reference_noise(student: AbstractStudent, view: NoisyView, anywhere: float) -> Float[Tensor, "batch *latent"]:
    """`anywhere eps_phi(x_t, any camera) + (1 - anywhere) eps_phi(x_t, c)`, both under the plain prompt, in one call.

    A part of weight 0 is not asked for. In the notation of a camera scale, `anywhere = 1 - s_phi`.
    """
    camera, plain = camera_numbers(view.cameras, view.noised), view.guide.plain
    blind = torch.zeros_like(camera)
    if anywhere in (0, 1):
        return student.predict_noise(view.noised, view.t, plain, blind if anywhere else camera)
    noised = torch.cat([view.noised, view.noised])
    both = student.predict_noise(noised, view.t.repeat(2), plain.repeat(2), torch.cat([blind, camera]))
    free, told = both.chunk(2)
    return anywhere * free + (1 - anywhere) * told


def check_share(name: str, share: float) -> None:
    """Raise ValueError unless `share` lies between 0 and 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is a share between 0 and 1; got {share}")
