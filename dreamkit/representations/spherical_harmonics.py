"""Real spherical harmonics as Gaussian splats use them: the sign and the order that `.ply` files have."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

DC = 0.28209479177387814
"The constant harmonic, sqrt(1 / (4 pi))."


def harmonics(directions: Float[Tensor, "points 3"], degree: int) -> Float[Tensor, "points coefficients"]:
    """All (degree + 1)^2 basis values in unit `directions`; degree at most 3 (card 6.1).

    Raises ValueError for other degrees.
    """
    if not 0 <= degree <= 3:
        raise ValueError(f"spherical harmonics are known for degrees 0 to 3; got {degree}")
    x, y, z = directions.unbind(dim=-1)
    xx, yy, zz = x * x, y * y, z * z
    bands = [torch.full_like(x, DC)]
    if degree > 0:
        bands += [c * math.sqrt(3 / (4 * math.pi)) for c in (-y, z, -x)]
    if degree > 1:
        half = math.sqrt(15 / (4 * math.pi))
        bands += [half * x * y, -half * y * z, half / (2 * math.sqrt(3)) * (2 * zz - xx - yy)]
        bands += [-half * x * z, half / 2 * (xx - yy)]
    if degree > 2:
        a, b, c, d = (math.sqrt(n / math.pi) / 4 for n in (35 / 2, 105, 21 / 2, 7))
        bands += [-a * y * (3 * xx - yy), 2 * b * x * y * z, -c * y * (4 * zz - xx - yy)]
        bands += [d * z * (2 * zz - 3 * xx - 3 * yy), -c * x * (4 * zz - xx - yy), b * z * (xx - yy)]
        bands += [-a * x * (xx - 3 * yy)]
    return torch.stack(bands, dim=-1)
