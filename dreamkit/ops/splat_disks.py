"""Splatting of flat Gaussians by the point where each ray meets them (2DGS), with the depth of their planes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops import _library, _splat_native
from dreamkit.ops.disk_projection import Disks, project_disks
from dreamkit.ops.splat import Splatted, blend_reference, validate

PLANE = 3
"Channels of an inverse depth that is linear in the pixel; its square has twice as many."


@dataclass(frozen=True)
class SplattedDisks(Splatted):
    """Images of a cloud of disks."""

    disparity: Float[Tensor, "batch height width 1"]
    "`sum_i w_i m_i`, m the inverse depth (along the view axis) at which the pixel's ray meets disk i's plane."
    disparity_square: Float[Tensor, "batch height width 1"]
    "`sum_i w_i m_i^2`."

    @property
    def depth(self) -> Float[Tensor, "batch height width 1"]:
        """Depth along the view axis, `sum w / sum w m`: the harmonic mean of what the ray meets; 0 where nothing is."""
        seen = self.disparity > 0
        return torch.where(seen, self.alpha / torch.where(seen, self.disparity, 1.0), 0.0)

    @property
    def distortion(self) -> Float[Tensor, "batch height width 1"]:
        """`sum_{i<j} w_i w_j (m_i - m_j)^2 = A sum w m^2 - (sum w m)^2`, A = alpha: zero where all meet at one depth.

        2DGS takes `m' = far / (far - near) (1 - near m)`, and gets this times `(far near / (far - near))^2`.
        """
        return (self.alpha * self.disparity_square - self.disparity.square()).clamp_min(0)


def splat_disks(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 2"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    values: Float[Tensor, "batch gaussians channels"],
    cameras: Cameras,
    near: float = 0.2,
) -> SplattedDisks:
    """Composite `values` of disks that lie across their third axis, as `splat` does, each met exactly by every ray.

    `alpha_i = min(0.99, o_i exp(-min(u^2 + v^2, 2 |p - centre|^2) / 2))`, (u, v) the intersection in standard
    deviations (`project_disks`), the second term a low-pass of 0.7 pixels. The inverse depth of a plane is linear in
    the pixel, so all moments of it are ordinary channels. Differentiable once in the first five. Source: arXiv
    2403.17888, section 4.2; card 6.8. Raises `ValueError` where shapes or types do not fit.
    """
    validate(means, scales, rotations, opacities, values, cameras, axes=2)
    disks = project_disks(means, scales, rotations, opacities, cameras, near)
    channels = torch.cat([values, *_moments(disks)], dim=-1)
    if _library.runs_native("splat", means.device):
        accumulated, alpha = _splat_native.composite(disks.footprints, channels, cameras.height, cameras.width)
    else:
        accumulated, alpha = blend_reference(disks.footprints, channels, cameras.height, cameras.width)
    return _develop(disks, accumulated, alpha, cameras)


def splat_disks_reference(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 2"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    values: Float[Tensor, "batch gaussians channels"],
    cameras: Cameras,
    near: float = 0.2,
) -> SplattedDisks:
    """The images of `splat_disks` in plain torch, tile by tile."""
    disks = project_disks(means, scales, rotations, opacities, cameras, near)
    channels = torch.cat([values, *_moments(disks)], dim=-1)
    accumulated, alpha = blend_reference(disks.footprints, channels, cameras.height, cameras.width)
    return _develop(disks, accumulated, alpha, cameras)


def _moments(disks: Disks) -> tuple[Tensor, Tensor]:
    """The coefficients of m = p_0 + p_1 x + p_2 y, and of its square, by 1, x, y, x^2, x y, y^2."""
    p, q, r = disks.plane.unbind(dim=-1)
    return disks.plane, torch.stack([p * p, 2 * p * q, 2 * p * r, q * q, 2 * q * r, r * r], dim=-1)


def _develop(disks: Disks, accumulated: Tensor, alpha: Tensor, cameras: Cameras) -> SplattedDisks:
    height, width = alpha.shape[1:3]
    values, plane, square = accumulated.split([accumulated.shape[-1] - 3 * PLANE, PLANE, 2 * PLANE], dim=-1)
    middle = 0.5 * torch.tensor([width, height], dtype=alpha.dtype, device=alpha.device)
    focal = middle[1] / torch.tan(torch.deg2rad(cameras.fov.to(alpha)) / 2).view(-1, 1, 1)
    x = ((torch.arange(width, dtype=alpha.dtype, device=alpha.device) + 0.5 - middle[0]) / focal).expand(-1, height, -1)
    y = ((torch.arange(height, dtype=alpha.dtype, device=alpha.device) + 0.5 - middle[1]) / focal).mT.expand(
        -1, -1, width
    )
    powers = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)
    disparity = (plane * powers[..., :PLANE]).sum(dim=-1, keepdim=True)
    disparity_square = (square * powers).sum(dim=-1, keepdim=True)
    seen = disks.footprints
    return SplattedDisks(values, alpha, seen.centre, seen.radius, disparity, disparity_square)
