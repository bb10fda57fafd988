"""Gaussian clouds as files store them: raw values, and colour as spherical harmonics (card 6.1, 6.7)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.materials.base import AbstractMaterial
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.spherical_harmonics import harmonics
from dreamkit.vectors import normalize

DARKEST = 1e-3
"Display colours are kept this far from 0 and 1 where a logit is taken."
DIRECTIONS = 256
"Directions in which a view-dependent colour is sampled to find its harmonics."

THIN = 50.0
"Gaussians that are all so many times wider than they are thick are surfels."


@dataclass(frozen=True)
class SplatFile:
    """What a `.ply` or `.glb` of Gaussians holds. Scene units, glTF axes, float32."""

    positions: Float[Tensor, "gaussians 3"]
    scales: Float[Tensor, "gaussians 3"]
    "Logarithms of the standard deviations."
    rotations: Float[Tensor, "gaussians 4"]
    "Quaternions (w, x, y, z)."
    opacities: Float[Tensor, " gaussians"]
    "Logits."
    harmonics: Float[Tensor, "gaussians coefficients 3"]
    "Display colour is `1/2 + sum_lm Y_lm(d) f_lm`, cut at 0; d points from the camera to the Gaussian."

    def __len__(self) -> int:
        return len(self.positions)


@torch.no_grad()
def to_splat_file(shape: Gaussians, material: AbstractMaterial) -> SplatFile:
    """The cloud with its material's base colour. Exact where the colour is the same from all sides.

    Otherwise the harmonics are those that fit the colour best over all directions (least squares): a material's
    activation bends them. Surfels become Gaussians as thin as they are drawn.
    """
    cloud = shape.cloud
    degree = cloud.degree
    ball = _spread(DIRECTIONS if degree else 1).to(cloud.positions)
    basis = harmonics(ball, degree)
    seen = shape.seen_from(ball[:, None].expand(-1, len(cloud), -1))
    color = material.base_color(seen.reshape(-1, shape.channels)).view(len(ball), len(cloud), 3) - 0.5
    target = color.flatten(1)
    fitted = torch.linalg.lstsq(basis, target).solution if degree else target / basis
    coefficients = fitted.view(-1, len(cloud), 3).transpose(0, 1)
    parts = (cloud.positions, shape.deviations.log(), cloud.rotations, cloud.opacities, coefficients)
    return SplatFile(*(part.detach().float().cpu().contiguous() for part in parts))


def from_splat_file(file: SplatFile, radius: float = 1.0) -> Gaussians:
    """Gaussians for the `Unlit` material, whose base colour is `sigmoid(features)`.

    The constant colour is kept (within 1e-3 of black and white), and the harmonics to first order around it.
    Gaussians that are all as thin as surfels become surfels.
    """
    basis = harmonics(file.positions.new_tensor([[0.0, 0.0, 1.0]]), 0)[0, 0]
    base = (0.5 + basis * file.harmonics[:, :1]).clamp(DARKEST, 1 - DARKEST)
    higher = file.harmonics[:, 1:] / (base * (1 - base))
    # By shape, not by size: a file may have been placed anew.
    thin = bool((file.scales[:, 2] < file.scales[:, :2].amin(dim=-1) - math.log(THIN)).all())
    scales = file.scales[:, :2] if thin else file.scales
    colors = torch.cat([torch.logit(base), higher], dim=1)
    return Gaussians.holding(GaussianCloud(file.positions, scales, file.rotations, file.opacities, colors), radius)


def _spread(count: int) -> Float[Tensor, "count 3"]:
    """Directions that cover the sphere evenly (a Fibonacci lattice)."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    y, angle = 1 - 2 * i / count, i * 2.399963229728653
    ring = (1 - y * y).sqrt()
    return normalize(torch.stack([ring * angle.cos(), y, ring * angle.sin()], dim=-1))
