"""f-divergences as weights of a score difference, and the density ratio without a discriminator (method card 12)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.names import check_choice

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse_kl": torch.ones_like,
    "forward_kl": lambda r: r,
    "jensen_shannon": lambda r: r / (1 + r),
    "softened": lambda r: 1 / (1 + r),
    "neyman": lambda r: 1 / r,
    "hellinger": torch.sqrt,
    "jeffreys": lambda r: 1 + r,
    "pearson": torch.square,
}
"""`h(r) = f''(r) r^2`, constants dropped, for `D_f(p | q) = E_q[f(p / q)]` with the prior p and the renders q: the
gradient is `E_q[h(r) (s_q - s_p)]` (arXiv 2502.15681, theorem 1; card 12.0)."""


def divergence_weight(name: str, ratio: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """`h(r)` of the named divergence; raises ValueError for another name."""
    check_choice("divergence", name, list(WEIGHTS))
    return WEIGHTS[name](ratio)


def second_branch(name: str, ratio: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """`k = h + dh/d rho = h - r h'(r)` and `dk/d rho = r^2 h''(r)`, where `rho = -log r`; both 0 for the forward KL.

    Uni-Instruct's second branch, by method card 12.2's functional derivative; h is the named divergence's weight.
    """
    h, slope, bend = WEIGHTS[name], torch.func.grad(WEIGHTS[name]), torch.func.grad(torch.func.grad(WEIGHTS[name]))
    first, second = torch.func.vmap(slope)(ratio), torch.func.vmap(bend)(ratio)
    return h(ratio) - ratio * first, ratio**2 * second


def log_ratio(
    differences: Float[Tensor, "points batch *latent"], way: Float[Tensor, "batch *latent"]
) -> Float[Tensor, " batch"]:
    """`log r(b + d) - log r(b) = int_0^1 (s_p - s_q)(b + u d) . d du`, by the trapezoid rule over u = 0 .. 1.

    `differences` are `s_p - s_q` at points evenly spaced along the way d. Exact with two points where p and q are
    Gaussian, as the integrand is then a straight line.
    """
    slopes = (differences * way).flatten(2).sum(dim=2)
    return torch.trapezoid(slopes, dx=1 / (len(differences) - 1), dim=0)
