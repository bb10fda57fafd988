"""Flat Gaussians seen by a pinhole camera: where the ray of a pixel meets a disk's plane (2DGS), in plain torch."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops.splat_projection import LEAST_ALPHA, Footprints, camera_frames, rotation_matrices

BLUR = math.log(1 / LEAST_ALPHA) ** 0.5
"Radius of the low-pass of an opaque disk, in pixels: beyond it alpha is below 1/255."
DISK_ENTRIES = 7
"Numbers in the shape of a disk's footprint."


@dataclass(frozen=True)
class Disks:
    """Footprints of disks on the image plane, and the planes that they lie in.

    With d = pixel - centre, a disk's `shape` (m00, m01, m10, m11, k, k_x, k_y) gives the place where the pixel's ray
    meets it, in standard deviations: `(u, v) = (m00 d_x + m01 d_y, m10 d_x + m11 d_y) / (k + k_x d_x + k_y d_y)`.
    """

    footprints: Footprints
    plane: Float[Tensor, "batch gaussians 3"]
    "The plane's inverse depth along the view axis, `p_0 + p_1 x + p_2 y`; x, y in focal lengths from the middle."


def disk_power(
    shape: Float[Tensor, "*splats 7"], dx: Float[Tensor, "*splats pixels"], dy: Float[Tensor, "*splats pixels"]
) -> Float[Tensor, "*splats pixels"]:
    """`-min(u^2 + v^2, 2 d^2) / 2` at d = (dx, dy): a disk is never thinner than a deviation of 0.7 pixels."""
    m00, m01, m10, m11, k, kx, ky = shape.unsqueeze(-1).unbind(dim=-2)
    first, second, depth = m00 * dx + m01 * dy, m10 * dx + m11 * dy, k + kx * dx + ky * dy
    near = 2 * (dx.square() + dy.square())
    square = depth.square()
    hit = first.square() + second.square() < near * square
    # Both branches of `where` get a gradient: the one not taken must not divide by zero.
    ratio = (first.square() + second.square()) / torch.where(hit, square, 1.0)
    return -0.5 * torch.where(hit, ratio, near)


def project_disks(
    means: Float[Tensor, "gaussians 3"],
    scales: Float[Tensor, "gaussians 2"],
    rotations: Float[Tensor, "gaussians 4"],
    opacities: Float[Tensor, " gaussians"],
    cameras: Cameras,
    near: float,
) -> Disks:
    """`M = K [R s_u t_u | R s_v t_v | t]`; the ray through (x, y) meets the disk at `(u, v, 1) ~ h_u x h_v`.

    `h_u = -M_1 + x M_3`, `h_v = -M_2 + y M_3`. The product is linear in the pixel, and so is the inverse depth of the
    plane, `(h_u x h_v)_3 / det M`. Disks that reach behind the camera are left out. Source: arXiv 2403.17888,
    section 4.2; card 6.8.
    """
    rotation, translation, focal = camera_frames(cameras, means.dtype)
    t = torch.einsum("bij,nj->bni", rotation, means) + translation[:, None]
    axes = torch.einsum("bij,njk->bnik", rotation, rotation_matrices(rotations)[..., :2] * scales.unsqueeze(-2))
    in_front = t[..., 2] > near
    depth = torch.where(in_front, t[..., 2], 1.0)
    slope = t[..., :2] / depth.unsqueeze(-1)
    f = focal[:, None, None]
    size = torch.tensor([cameras.width, cameras.height], dtype=means.dtype, device=means.device)
    centre = 0.5 * size + f * slope
    # Rows of M about the centre, where the third column is (0, 0, depth).
    (a, b), (c, d) = ((f * (axes[..., i, :] - slope[..., i, None] * axes[..., 2, :])).unbind(dim=-1) for i in range(2))
    e, g = axes[..., 2, :].unbind(dim=-1)
    area = a * d - b * c
    k = torch.stack([area, g * c - e * d, b * e - a * g], dim=-1) / depth.unsqueeze(-1)
    shape = torch.cat([torch.stack([d, -b, -c, a], dim=-1), k], dim=-1)
    # The plane through the centre; scaled by the depth, `k` holds its slope times the area.
    most = f / BLUR * scales.amax(dim=-1, keepdim=True) / depth.square().unsqueeze(-1)
    steep = _held(k[..., 1:] * f, area, most)
    start = 1 / depth - (steep * slope).sum(dim=-1)
    plane = torch.cat([start.unsqueeze(-1), steep], dim=-1)
    opacity = torch.where(in_front, opacities.expand_as(depth), 0.0)
    reach, radius = _extent(centre, torch.stack([a, b, c, d, e, g], dim=-1), depth, opacity, size)
    opacity = torch.where(radius > 0, opacity, 0.0)
    return Disks(Footprints(centre, shape, opacity, t[..., 2].detach(), reach, radius), plane)


def _held(
    slope: Float[Tensor, "batch gaussians 2"],
    area: Float[Tensor, "batch gaussians"],
    most: Float[Tensor, "batch gaussians 1"],
) -> Float[Tensor, "batch gaussians 2"]:
    """`slope / area`, no longer than `most`.

    Seen from the side a disk has no area, and its plane no depth; what is then drawn is the low-pass,
    over whose radius the inverse depth may change by as much as over the disk itself.
    """
    length = slope.square().sum(dim=-1, keepdim=True).clamp_min(1e-24).sqrt()
    share = torch.minimum(1 / area.abs().clamp_min(1e-12).unsqueeze(-1), most / length)
    return slope * share * area.sign().unsqueeze(-1)


@torch.no_grad()
def _extent(
    centre: Float[Tensor, "batch gaussians 2"],
    rows: Float[Tensor, "batch gaussians 6"],
    depth: Float[Tensor, "batch gaussians"],
    opacity: Float[Tensor, "batch gaussians"],
    size: Float[Tensor, "2"],
) -> tuple[Float[Tensor, "batch gaussians 2"], Float[Tensor, "batch gaussians"]]:
    """Half the box where alpha >= 1/255, and three deviations; zeros where nothing is drawn."""
    square = 2 * (opacity / LEAST_ALPHA).clamp_min(1).log()
    reach = _box(rows, depth, square).maximum((square / 2).sqrt().unsqueeze(-1))
    before = depth.square() > 1.01 * square * rows[..., 4:].square().sum(dim=-1)
    inside = ((centre + reach > 0) & (centre - reach < size)).all(dim=-1)
    drawn = inside & before & (opacity >= LEAST_ALPHA)
    radius = (9 * rows[..., :4].square().view(*rows.shape[:-1], 2, 2).sum(dim=-1)).amax(dim=-1).sqrt()
    return reach * drawn.unsqueeze(-1), torch.where(drawn, radius.clamp_min(3 * 0.5**0.5), 0.0)


def _box(
    rows: Float[Tensor, "batch gaussians 6"],
    depth: Float[Tensor, "batch gaussians"],
    square: Float[Tensor, "batch gaussians"],
) -> Float[Tensor, "batch gaussians 2"]:
    """Half the box, about the centre, of the conic that is the picture of the circle u^2 + v^2 = square."""
    flat = rows[..., :4].view(*rows.shape[:-1], 2, 2)
    tilt = rows[..., 4:].unsqueeze(-2)
    # With d = (square, square, -1): t = d . M_3^2, the middle is d . M_i M_3 / t.
    t = (square * tilt.square().sum(dim=(-2, -1)) - depth.square()).clamp_max(-1e-12).unsqueeze(-1)
    middle = square.unsqueeze(-1) * (flat * tilt).sum(dim=-1) / t
    half = (middle.square() - square.unsqueeze(-1) * flat.square().sum(dim=-1) / t).clamp_min(0).sqrt()
    return middle.abs() + half
