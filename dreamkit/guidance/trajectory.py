"""The trajectory that ISM and TSM compare two points of: unguided inversion, and single steps from where it ends."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.guidance.inversion import Ladder, ddim_step
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.schedule import NoiseSchedule
from dreamkit.schedules import Schedule, value_at


@dataclass(frozen=True)
class Trajectory:
    """Where unguided inversion has led: `x_s`, and the prediction there that leads on."""

    schedule: NoiseSchedule
    noised: Float[Tensor, "batch *latent"]
    noise: Float[Tensor, "batch *latent"]
    "`eps(x_s, s, null)`."
    s: Int[Tensor, " batch"]

    def at(self, t: Int[Tensor, " batch"]) -> Float[Tensor, "batch *latent"]:
        """One DDIM step from `x_s` to the levels `t`."""
        return ddim_step(self.schedule, self.noised, self.noise, self.s, t)


def follow(prior: AbstractPrior, view: NoisyView, ladder: Ladder, gap: Schedule) -> Trajectory:
    """Invert the clean latents with the empty prompt up to `s = max(t - gap, 0)`; the view's noise starts it."""
    s = (view.t - round(value_at(gap, view.progress))).clamp_min(0)
    null = view.guide.null

    def predict(noised: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        return prior.predict_noise(noised, t, null[rows])

    x = ladder.invert(prior.schedule, view.clean.detach(), view.noise, s, predict)
    return Trajectory(prior.schedule, x, prior.predict_noise(x, s, null), s)
