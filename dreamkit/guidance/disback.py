"""DisBack: walk from the first renders to the prior, instead of facing it from far away."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.learnt import AbstractLearnt, reference_noise, state_of
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.student import AbstractStudent, camera_numbers
from dreamkit.priors.student_prior import StudentPrior


class Path(nn.Module):
    """The student that follows the renders, and another that keeps what the first had learnt of the first renders."""

    recorded: Tensor

    def __init__(self, fake: AbstractStudent, first: AbstractStudent, recorded: bool = False) -> None:
        super().__init__()
        self.fake, self.first = fake, first.requires_grad_(False)
        self.register_buffer("recorded", torch.tensor(recorded))

    def target(self) -> AbstractStudent:
        """The first target: what the student knew at the first call."""
        if not self.recorded:
            self.first.load_state_dict(self.fake.state_dict())
        self.recorded.fill_(True)
        return self.first


@dataclass(frozen=True)
class DisBack(AbstractLearnt):
    """VSD whose target walks back to the prior: `G = w(t) (eps_k_guided(x_t, y) - eps_phi(x_t, c, y))`.

    Source: Zhang et al., arXiv 2408.15991; method card 12.5. For the share `degrade` of the run the scene waits and a
    student learns its renders; then the targets lead back, the share of what it had learnt by then falling from 1 to 0
    in `targets` steps by the share `arrive` of the run, while it goes on learning. Without degradation it is VSD.
    Raises ValueError for shares and weightings that do not fit.
    """

    weighting: str = "sds"
    degrade: float = 0.1
    arrive: float = 0.6
    targets: int = 4
    paper: ClassVar[str] = "2408.15991"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.weighting)
        if not (0 <= self.degrade <= self.arrive <= 1 and self.targets >= 1):
            raise ValueError(f"DisBack needs 0 <= degrade <= arrive <= 1 and targets >= 1; got {self}")

    def init(self, prior: AbstractPrior) -> nn.Module | None:
        return Path(prior.student(self.rank), prior.student(self.rank))

    def strength(self, progress: float) -> float:
        """Share of the degradation in the target: 1, then down by equal steps, and 0 from `arrive` on."""
        if self.degrade == 0 or progress >= self.arrive:
            return 0.0
        done = max(progress - self.degrade, 0.0) / (self.arrive - self.degrade)
        return 1 - int(done * self.targets + 1e-9) / self.targets

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        if view.progress < self.degrade:
            return torch.zeros_like(view.noised)
        path, share = state_of(state, Path), self.strength(view.progress)
        camera = camera_numbers(view.cameras, view.noised)
        target = StudentPrior(prior, path.target(), camera, share) if share else prior
        attract, reference = view.guide.predict(target, view.noised, view.t), reference_noise(path.fake, view, 0.0)
        return weight(self.weighting, prior.schedule, view.t, view.noised) * (attract - reference)

    def fit(self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None) -> Float[Tensor, ""] | None:
        return super().fit(prior, view, state_of(state, Path).fake)
