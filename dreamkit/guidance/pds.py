"""PDS: posterior distillation sampling, DDS in the terms of the reverse process."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.pairs import predict_pair
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.schedule import NoiseSchedule


@dataclass(frozen=True)
class PDS(AbstractGuidance):
    """`G = M (psi(t) (x - x_src) + chi(t) (eps_guided(x_t, y) - eps_guided(x_t_src, y_src)))`.

    The difference of the stochastic latents `(x_s - mu(x_t, eps)) / sigma_post` of the edited and the original view
    that share both noises (Koo et al., arXiv 2311.13831; method card 5.3). `s = t - stride`, while
    the one-step `beta_t` is used: with stride 1 the coefficients agree, psi vanishes and this is DDS with another
    weight. The authors' code has two levels between its steps, and from that its identity term psi. Raises ValueError
    for levels that have none below, and for a view without an original.
    """

    stride: int = 2
    "Levels down to the previous step: 2 is the authors' code, 1 has no identity term."
    paper: ClassVar[str] = "2311.13831"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        pair = predict_pair(prior, view, "PDS")
        psi, chi = self.coefficients(prior.schedule, view.t, view.noised)
        return pair.mask * (psi * pair.moved + chi * (pair.edited - pair.original))

    def coefficients(
        self, schedule: NoiseSchedule, t: Int[Tensor, " batch"], like: Float[Tensor, "batch *latent"]
    ) -> tuple[Float[Tensor, "batch *ones"], Float[Tensor, "batch *ones"]]:
        """`psi = (alpha_s - c0 - c1 alpha_t) / sigma_post` and `chi = c0 sigma_t / (alpha_t sigma_post)`.

        `mu = c0 x_0 + c1 x_t`, `c0 = alpha_s beta / sigma_t^2`, `c1 = a sigma_s^2 / sigma_t^2` and
        `sigma_post^2 = beta sigma_s^2 / sigma_t^2`, where `a = alpha_t / alpha_{t-1}`.
        """
        if self.stride < 1 or int(t.min()) < self.stride:
            raise ValueError(f"PDS looks {self.stride} levels below each level and got level {int(t.min())}; raise low")
        # In float64: psi is a small difference of numbers near one.
        (alpha, sigma), (before, noise_before), (alpha_s, sigma_s) = (
            schedule.at(t - step, like.double()) for step in (0, 1, self.stride)
        )
        a = alpha / before
        beta = sigma**2 - (a * noise_before) ** 2
        c0, c1 = alpha_s * beta / sigma**2, a * (sigma_s / sigma) ** 2
        post = beta.sqrt() * sigma_s / sigma
        return ((alpha_s - c0 - c1 * alpha) / post).to(like), (c0 * sigma / (alpha * post)).to(like)
