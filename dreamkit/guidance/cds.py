"""CDS: consistency distillation sampling of Consistent3D."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.inversion import ddim_step
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.weighting import check_name, weight
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.draws import uniform


@dataclass(frozen=True)
class CDS(AbstractGuidance):
    """`G = w(t1) (eps_guided(x_t1, t1) - eps_guided(x_t2, t2))`, noisier minus cleaner, `t2 = t`.

    Source: Wu et al., arXiv 2401.09050 and its code; method card 8. `x_t1` is the render under the view's noise at
    `t1 = t + U{gap .. gap + spread}`, `x_t2` one Euler step down from it. The method wants one fixed noise for the
    whole run (`[noise] type = "fixed"`) and levels t that fall by a square root. On a Gaussian prior it seeks
    `m - (sigma_t1 / alpha_t1) noise`, hence the mean m only as the levels go down. Raises ValueError for an unknown
    weighting and for gaps that do not fit below `highest`.
    """

    weighting: str = "uniform"
    gap: int = 100
    spread: int = 200
    "Levels by which t1 may lie above its lowest; the paper's fine stages have 100."
    highest: int = 980
    paper: ClassVar[str] = "2401.09050"

    def __post_init__(self) -> None:
        check_name(self.weighting)
        if not (self.gap >= 0 and self.spread >= 0 and self.gap <= self.highest <= 999):
            raise ValueError(
                "CDS needs gap >= 0, spread >= 0 and gap <= highest <= 999; "
                f"got gap={self.gap}, spread={self.spread}, highest={self.highest}"
            )

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        t2 = view.t.clamp_max(self.highest - self.gap)
        t1 = (t2 + self.gap + self._above(view).to(t2.device)).clamp_max(self.highest)
        noisy = prior.schedule.add_noise(view.clean.detach(), view.noise, t1)
        noisier = view.guide.predict(prior, noisy, t1)
        cleaner = view.guide.predict(prior, ddim_step(prior.schedule, noisy, noisier, t1, t2), t2)
        return weight(self.weighting, prior.schedule, t1, noisy) * (noisier - cleaner)

    def _above(self, view: NoisyView) -> Int[Tensor, " batch"]:
        return (uniform(len(view.t), view.source, view.cameras.group) * (self.spread + 1)).long()
