"""What teacher and student are compared by: the norms and clamps of PVD (method card representations 1.4)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.samples import Pixels, PointValues

THINNEST = 1e-30
"Densities below are taken for this in logarithms."


@dataclass(frozen=True)
class DensityRange:
    """Log-densities that count: below `low` nothing is visible, above `high` nothing changes.

    Erased space needs a lower `low`: `exp(-2) = 0.14` per scene unit stays as fog (card 1.8).
    """

    low: float = -2.0
    high: float = 7.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a DensityRange needs low < high; got low={self.low}, high={self.high}")


def frobenius(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """`||a - b||_2` over all entries, not divided by their number: its gradient has length one, and 0 where a = b."""
    return torch.linalg.vector_norm(a - b)


def log_density(density: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """`log sigma`, from `log 1e-30` on."""
    return density.clamp_min(THINNEST).log()


def clamped_density_loss(
    student: Float[Tensor, " points"], teacher: Float[Tensor, " points"], limits: DensityRange
) -> Float[Tensor, ""]:
    """Norm of the difference of log-densities clamped to the range: no gradient where the student is outside it."""
    mine, theirs = (log_density(density).clamp(limits.low, limits.high) for density in (student, teacher))
    return frobenius(mine, theirs)


def excess(
    student: Float[Tensor, " points"], teacher: Float[Tensor, " points"], limits: DensityRange
) -> Float[Tensor, " points"]:
    """How far the student's log-density is from the teacher's, 0 where both are beyond the same end of the range.

    Unlike the hard clamp it pulls a student back into the range, so that no point is lost for good.
    """
    mine, theirs = log_density(student), log_density(teacher).clamp(limits.low, limits.high)
    gone = (theirs <= limits.low) & (mine < limits.low) | (theirs >= limits.high) & (mine > limits.high)
    return torch.where(gone, 0, mine - theirs)


def feature_loss(student: PointValues, teacher: PointValues, limits: DensityRange) -> Float[Tensor, ""]:
    """Norm of the difference of the 16-vectors [log-density, 15 features]; the density alone where a side has no more.

    The density enters by `excess`.
    """
    parts = [excess(student.density, teacher.density, limits)[:, None]]
    if has_latents(student, teacher):
        assert student.latent is not None
        assert teacher.latent is not None
        parts.append(student.latent - teacher.latent)
    both = torch.cat(parts, dim=-1)
    return frobenius(both, torch.zeros_like(both))


def color_loss(student: PointValues, teacher: PointValues) -> Float[Tensor, ""]:
    """Norm of the difference of the colours at the points."""
    return frobenius(student.color, teacher.color)


def pixel_loss(student: Pixels, teacher: Pixels) -> Float[Tensor, ""]:
    """Norm of the difference of the rays' colours."""
    return frobenius(student.color, teacher.color)


def has_latents(student: PointValues, teacher: PointValues) -> bool:
    """Whether both have features of one width."""
    a, b = student.latent, teacher.latent
    return a is not None and b is not None and a.shape == b.shape


def select(values: PointValues, kept: Tensor | None) -> PointValues:
    """Some of the points; all of them for None."""
    if kept is None:
        return values
    latent = None if values.latent is None else values.latent[kept]
    return PointValues(values.density[kept], values.color[kept], latent)
