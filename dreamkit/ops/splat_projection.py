"""Gaussians seen by a pinhole camera: the footprints that `splat` draws, in plain torch."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.vectors import normalize

LOW_PASS = 0.3
"Added to the variance of every footprint, in square pixels: none is thinner than a pixel."
LEAST_SHARE = 0.005
"Antialiased opacities are never scaled down by more than this (gsplat's constant)."
LEAST_ALPHA = 1 / 255
"Fainter than this is not drawn: the last step of an 8-bit picture."
GUARD = 1.3
"The Jacobian is taken no farther from the axis than this many half-pictures; beyond, it explodes."


@dataclass(frozen=True)
class Footprints:
    """Gaussians on the image plane. Pixels: x right, y down, middles at +0.5."""

    centre: Float[Tensor, "batch gaussians 2"]
    shape: Float[Tensor, "batch gaussians entries"]
    "The inverse covariance's entries xx, xy, yy, in 1 / square pixels; for disks, those of `disk_projection.py`."
    opacity: Float[Tensor, "batch gaussians"]
    "Peak alpha, with the antialiasing factor; zero where the Gaussian is behind the near plane."
    depth: Float[Tensor, "batch gaussians"]
    "Distance along the view axis, scene units. Without gradient: it only orders."
    reach: Float[Tensor, "batch gaussians 2"]
    "Half the size of the box outside which alpha < 1/255, in pixels. Without gradient."
    radius: Float[Tensor, "batch gaussians"]
    "Three standard deviations along the longest axis, in pixels; 0 where nothing is drawn. Without gradient."


def rotation_matrices(rotations: Float[Tensor, "gaussians 4"]) -> Float[Tensor, "gaussians 3 3"]:
    """R(q) of quaternions (w, x, y, z) of any length."""
    w, x, y, z = normalize(rotations, eps=1e-12).unbind(dim=-1)
    rows = (
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    )
    return torch.stack(rows, dim=-2)


def camera_frames(
    cameras: Cameras, dtype: torch.dtype
) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"], Float[Tensor, " batch"]]:
    """Rotation and translation from the world to (right, down, forward) axes, and the focal length in pixels."""
    pose = cameras.pose.to(dtype)
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=dtype, device=pose.device)
    rotation = (pose[:, :3, :3] * flip).transpose(1, 2)
    translation = -torch.einsum("bij,bj->bi", rotation, pose[:, :3, 3])
    focal = 0.5 * cameras.height / torch.tan(torch.deg2rad(cameras.fov.to(dtype)) / 2)
    return rotation, translation, focal


def project_reference(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 3"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    cameras: Cameras,
    antialiased: bool,
    near: float,
) -> Footprints:
    """EWA projection: `t = W mu + tau`, `S' = J W R S S^T R^T W^T J^T + 0.3 I` (card 6.2).

    J is the Jacobian of the projection at t, its slopes t_x/t_z and t_y/t_z held within 1.3 half-pictures.
    Antialiased, the opacity is scaled by `sqrt(max(det S'_0 / det S', 0.005^2))`, S'_0 being S' without the low-pass.
    """
    rotation, translation, focal = camera_frames(cameras, means.dtype)
    t = torch.einsum("bij,nj->bni", rotation, means) + translation[:, None]
    in_front = t[..., 2] > near
    depth = torch.where(in_front, t[..., 2], 1.0)
    slope = t[..., :2] / depth.unsqueeze(-1)
    size = torch.tensor([cameras.width, cameras.height], dtype=means.dtype, device=means.device)
    centre = 0.5 * size + focal[:, None, None] * slope
    limit = GUARD * 0.5 * size / focal[:, None, None]
    held = slope.maximum(-limit).minimum(limit)
    share = focal[:, None, None] / depth.unsqueeze(-1)
    jacobian = torch.cat([torch.diag_embed(share.expand_as(held)), (-share * held).unsqueeze(-1)], dim=-1)
    spread = jacobian @ rotation[:, None] @ (rotation_matrices(rotations) * scales.unsqueeze(-2))
    bare = spread @ spread.transpose(-1, -2)
    a, b, e = bare[..., 0, 0] + LOW_PASS, bare[..., 0, 1], bare[..., 1, 1] + LOW_PASS
    determinant = a * e - b * b
    opacity = opacities.expand_as(a)
    if antialiased:
        kept = _minors(spread) / determinant
        opacity = opacity * kept.clamp_min(LEAST_SHARE**2).sqrt()
    conic = torch.stack([e, -b, a], dim=-1) / determinant.unsqueeze(-1)
    opacity = torch.where(in_front, opacity, 0.0)
    reach, radius = _extent(centre, a, b, e, opacity, size)
    return Footprints(centre, conic, opacity, t[..., 2].detach(), reach, radius)


def _minors(spread: Float[Tensor, "batch gaussians 2 3"]) -> Float[Tensor, "batch gaussians"]:
    """`det(Q Q^T)` as the sum of the squared minors of Q: a thin footprint's is not lost to cancellation."""
    return torch.linalg.cross(spread[..., 0, :], spread[..., 1, :]).square().sum(dim=-1)


@torch.no_grad()
def _extent(
    centre: Float[Tensor, "batch gaussians 2"],
    a: Float[Tensor, "batch gaussians"],
    b: Float[Tensor, "batch gaussians"],
    e: Float[Tensor, "batch gaussians"],
    opacity: Float[Tensor, "batch gaussians"],
    size: Float[Tensor, "2"],
) -> tuple[Float[Tensor, "batch gaussians 2"], Float[Tensor, "batch gaussians"]]:
    # alpha = 1/255 on the ellipse of Mahalanobis distance sqrt(2 ln(255 o)), whose box is this many deviations wide.
    deviations = (2 * (opacity / LEAST_ALPHA).clamp_min(1).log()).sqrt()
    reach = deviations.unsqueeze(-1) * torch.stack([a, e], dim=-1).sqrt()
    inside = ((centre + reach > 0) & (centre - reach < size)).all(dim=-1)
    drawn = inside & (opacity >= LEAST_ALPHA)
    middle = 0.5 * (a + e)
    longest = middle + (middle.square() - (a * e - b * b)).clamp_min(0).sqrt()
    return reach * drawn.unsqueeze(-1), torch.where(drawn, 3 * longest.sqrt(), 0.0)
