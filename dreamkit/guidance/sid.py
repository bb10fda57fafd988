"""SiD: score identity distillation, whose gradient passes through both networks."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.learnt import AbstractLearnt, student_of
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.student import AbstractStudent, camera_numbers


@dataclass(frozen=True)
class SiD(AbstractLearnt):
    """`G = dL/dx`, `L = (D - D_phi)^T [(D - x) - alpha (D - D_phi)] / sg(mean |x - D|)`, D and D_phi clean estimates.

    Source: Zhou et al., arXiv 2404.04057; method card 12.3. Unlike VSD's, the bias of an imperfect student cancels to
    first order. L may be negative. Needs memory for the graphs of two networks. Does not guide the student by the text,
    as the LSG variant does.
    """

    correction: float = 1.0
    "alpha: 1 for Stable Diffusion, 1.2 in the paper's EDM runs."
    paper: ClassVar[str] = "2404.04057"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        with torch.enable_grad():
            clean = view.clean.detach().requires_grad_()
            losses = self.losses(prior, view, state, clean)
            (gradient,) = torch.autograd.grad(losses.sum(), clean)
        return gradient

    def losses(
        self,
        prior: AbstractPrior,
        view: NoisyView,
        state: nn.Module | None,
        clean: Float[Tensor, "batch *latent"],
    ) -> Float[Tensor, " batch"]:
        """L of each view, under the view's own noise."""
        real, fake = clean_estimates(prior, view, student_of(state), clean)
        return identity_losses(clean, real, fake, self.correction)


def clean_estimates(
    prior: AbstractPrior, view: NoisyView, student: AbstractStudent, clean: Float[Tensor, "batch *latent"]
) -> tuple[Float[Tensor, "batch *latent"], Float[Tensor, "batch *latent"]]:
    """D and D_phi at `alpha_t clean + sigma_t noise`, with the graphs of both networks."""
    t, camera = view.t, camera_numbers(view.cameras, view.noised)
    noised = prior.schedule.add_noise(clean, view.noise, t)
    real = prior.schedule.denoise(noised, view.guide.predict(prior, noised, t, differentiable=True), t)
    said = student.predict_noise(noised, t, view.guide.plain, camera, differentiable=True)
    return real, prior.schedule.denoise(noised, said, t)


def identity_losses(
    clean: Float[Tensor, "batch *latent"],
    real: Float[Tensor, "batch *latent"],
    fake: Float[Tensor, "batch *latent"],
    correction: float | Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """`(D - D_phi)^T [(D - x) - alpha (D - D_phi)] / sg(mean |x - D|)` of each view."""
    alpha = torch.as_tensor(correction).to(clean).expand(len(clean)).view(-1, *[1] * (clean.ndim - 1))
    apart = real - fake
    return (apart * (real - clean - alpha * apart)).flatten(1).sum(dim=1) / sizes(clean, real)


def sizes(clean: Float[Tensor, "batch *latent"], real: Float[Tensor, "batch *latent"]) -> Float[Tensor, " batch"]:
    """`sg(mean |x - D|)` of each view, not quite 0."""
    return (clean - real).detach().abs().flatten(1).mean(dim=1).clamp_min(1e-5)
