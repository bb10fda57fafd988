"""Uni-Instruct: SiD under other divergences, integrated over the noise levels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.divergence import divergence_weight, second_branch
from dreamkit.guidance.learnt import state_of
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.reweighted import AbstractReweighted, difference
from dreamkit.guidance.sid import clean_estimates, identity_losses, sizes
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class UniInstruct(AbstractReweighted):
    """Descends `E_q[h(r) |u|^2] / 2` of each level, `u = D - D_phi`, along its two branches (method card 12.2).

    With `rho = -log r` and `k = h + dh / d rho`, up to SiD's normaliser and the mean weight,
    `G = h dL/dx + d(k |u|^2 / 2)/dx`: the first (SIM) is SiD's loss L at alpha = 1 with a fixed weight, the second (DI)
    what moving x changes in the integrand, k's own slope `dk / d rho (s_q - s_p)` included. It vanishes for the forward
    KL (h = r), the default and the paper's choice for text-to-3D; the reverse KL (h = 1) is SiD at alpha = 1/2 with it
    and at alpha = 1 without. Source: arXiv 2505.20755; the second branch as in the card's functional derivative.
    """

    divergence: str = "forward_kl"
    direct: bool = True
    "Whether the second branch counts."
    paper: ClassVar[str] = "2505.20755"

    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        memory = state_of(state, Remembering)
        with torch.enable_grad():
            clean = view.clean.detach().requires_grad_()
            real, fake = clean_estimates(prior, view, memory.student, clean)
        here, r = self._measured(prior, view, memory, (real - fake).detach())
        h = divergence_weight(self.divergence, r)
        k, bend = second_branch(self.divergence, r) if self.direct else (torch.zeros_like(r), torch.zeros_like(r))
        with torch.enable_grad():
            # `k |u|^2 / 2` is a smaller correction: L = u (D - x) - alpha |u|^2.
            losses = identity_losses(clean, real, fake, 1 - k / (2 * h))
        share = memory.normalize(h)
        # h goes in as the cotangent: outside the block above, a product would have no graph.
        gradient = torch.autograd.grad(losses, clean, share)[0]
        square = (real - fake).detach().square().flatten(1).sum(dim=1) / sizes(clean, real)
        towards = 0.5 * share / h * bend * self.ratio.slope(view.noised) * square
        return gradient + towards.view(-1, *[1] * (here.ndim - 1)) * here

    def _measured(
        self, prior: AbstractPrior, view: NoisyView, memory: Remembering, u: Float[Tensor, "batch *latent"]
    ) -> tuple[Float[Tensor, "batch *latent"], Float[Tensor, " batch"]]:
        """`d rho / dx` and r, without a graph; from D to eps by `eps = (x_t - alpha D) / sigma`."""
        alpha, sigma = prior.schedule.at(view.t, u)
        apart, path = -(alpha / sigma * u).unsqueeze(0), self.ratio.path(view.noised)
        # Apart from the calls at x_t: in one batch with these, the other points would cost a backward pass too.
        if len(path) > 1:
            apart = torch.cat([difference(prior, view, memory.student, path[:-1]), apart])
        return alpha / sigma * apart[-1], self.clipped(prior, view, memory, apart)
