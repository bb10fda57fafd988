"""The usual weights `w(t)` of a score distillation (method card 0.5)."""

from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.names import check_choice
from dreamkit.priors.schedule import NoiseSchedule

FORMULAS = {
    "sds": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: sigma**0,
    "fantasia3d": lambda alpha, sigma: alpha * sigma**2,
    "ism": lambda alpha, sigma: sigma / alpha,
    "inv": lambda alpha, sigma: sigma**-2,
}
"""In the scales of `x_t = alpha x_0 + sigma eps`: "sds" is DreamFusion's `1 - alpha^2`, "fantasia3d" stresses the
middle levels, "ism" measures the pull in clean latents, "inv" stresses the low levels."""


def weight(
    name: str, schedule: NoiseSchedule, t: Int[Tensor, " batch"], like: Float[Tensor, "batch *latent"]
) -> Float[Tensor, "batch *ones"]:
    """`w(t)` of the named formula, with axes of length one to multiply `like`; raises ValueError for another name."""
    return FORMULAS[check_name(name)](*schedule.at(t, like))


def check_name(name: str) -> str:
    """The name itself when there is such a weighting; raises ValueError otherwise."""
    check_choice("weighting", name, list(FORMULAS))
    return name
