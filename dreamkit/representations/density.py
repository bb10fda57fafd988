"""From a network's raw output to volume density: activations, and the blob that an empty scene starts from.

Source: method cards representations 5.3 and guidance 14.3.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.names import check_choice

GRADIENT_CEILING = 15.0
"Above this pre-activation, the slope of `trunc_exp` stops growing (float16 overflows at 11, float32 at 88)."

ACTIVATIONS = ("softplus", "trunc_exp")
BLOBS = ("magic3d", "dreamfusion", "none")


class _TruncatedExponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return torch.exp(z)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        # Plain torch operations on the saved input, so that this can be differentiated again (analytic normals).
        (z,) = ctx.saved_tensors
        return cotangents[0] * torch.exp(z.clamp(max=GRADIENT_CEILING))


def trunc_exp(z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Exponential with a bounded slope: `exp(z)` forward, `exp(min(z, 15))` as its derivative (card 5.3)."""
    return _TruncatedExponential.apply(z)


def softplus(z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`log(1 + exp(z))`, without overflow."""
    return torch.nn.functional.softplus(z)


def blob_magic3d(points: Float[Tensor, "points 3"], scale: float, std: float) -> Float[Tensor, " points"]:
    """Cone `scale (1 - |x| / std)`: `scale` at the origin, 0 at distance `std`; a negative scale hollows a room out."""
    return scale * (1 - points.square().sum(dim=-1).clamp_min(1e-12).sqrt() / std)


def blob_dreamfusion(points: Float[Tensor, "points 3"], scale: float, std: float) -> Float[Tensor, " points"]:
    """Bell `scale exp(-|x|^2 / (2 std^2))` (DreamFusion, arXiv 2209.14988)."""
    return scale * torch.exp(-0.5 * points.square().sum(dim=-1) / std**2)


def volsdf_density(
    distance: Float[Tensor, "*shape"], inverse_beta: float | Float[Tensor, ""]
) -> Float[Tensor, "*shape"]:
    """Density of a signed distance s, positive outside: `(1/b) (1/2 + 1/2 sign(s) expm1(-|s|/b))`.

    Half of 1/b on the surface, 1/b deep inside, 0 far outside; s in scene units, density per scene unit.
    Source: VolSDF, arXiv 2106.12052, equations 2 and 3 (with the opposite sign of s); card 14.3.
    """
    return inverse_beta * (0.5 + 0.5 * distance.sign() * torch.expm1(-distance.abs() * inverse_beta))


@dataclass(frozen=True)
class DensityMap:
    """`sigma(x) = activation(raw + blob(x))`: raw network output to density, per scene unit.

    The pairs in use: softplus with magic3d (10, 0.5), the default; trunc_exp with dreamfusion (5, 0.2); for hollow
    surroundings softplus with magic3d (-10, 2.5) in a box of radius 5. Raises ValueError for unknown names.
    """

    activation: str = "softplus"
    blob: str = "magic3d"
    scale: float = 10.0
    "Height of the blob at the origin, before the activation."
    std: float = 0.5
    "Size of the blob in scene units."

    def __post_init__(self) -> None:
        check_choice("density activation", self.activation, ACTIVATIONS)
        check_choice("density blob", self.blob, BLOBS)
        if not self.std > 0:
            raise ValueError(f"a density blob needs std > 0; got {self.std}")

    def __call__(self, raw: Float[Tensor, " points"], points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        z = raw + self.bias(points)
        return softplus(z) if self.activation == "softplus" else trunc_exp(z)

    def bias(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """What is added to the raw output at `points`, in scene units."""
        if self.blob == "magic3d":
            return blob_magic3d(points, self.scale, self.std)
        if self.blob == "dreamfusion":
            return blob_dreamfusion(points, self.scale, self.std)
        return torch.zeros_like(points[:, 0])

    def raw(self, density: Float[Tensor, " points"], points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """The inverse: what a network must say for `density` > 0 at `points`."""
        # log(exp(d) - 1) without overflow.
        z = density.log() if self.activation == "trunc_exp" else density + torch.log(-torch.expm1(-density))
        return z - self.bias(points)
