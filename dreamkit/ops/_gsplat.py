"""gsplat behind `splat`; the contract is in splat.py.

gsplat holds alpha below 0.999 where we hold it below 0.99; everything else is the same formula.
"""

from types import ModuleType

import torch
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.ops.splat_projection import LOW_PASS, camera_frames
from dreamkit.ops.splat_tiles import TILE


def splat(
    gsplat: ModuleType,
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    opacities: Tensor,
    values: Tensor,
    cameras: Cameras,
    antialiased: bool,
    near: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Accumulated values, alpha, centres and radii."""
    rotation, translation, focal = camera_frames(cameras, means.dtype)
    world_to_camera = torch.eye(4, dtype=means.dtype, device=means.device).repeat(len(cameras), 1, 1)
    world_to_camera[:, :3, :3], world_to_camera[:, :3, 3] = rotation, translation
    lens = torch.zeros(len(cameras), 3, 3, dtype=means.dtype, device=means.device)
    lens[:, 0, 0] = lens[:, 1, 1] = focal
    lens[:, 0, 2], lens[:, 1, 2], lens[:, 2, 2] = cameras.width / 2, cameras.height / 2, 1
    accumulated, alpha, seen = gsplat.rasterization(
        *(means, rotations, scales, opacities, values, world_to_camera, lens, cameras.width, cameras.height),
        near_plane=near,
        eps2d=LOW_PASS,
        packed=False,
        tile_size=TILE,
        rasterize_mode="antialiased" if antialiased else "classic",
    )
    radii = seen["radii"]
    # Newer versions give a radius for each axis.
    radius = radii.amax(dim=-1) if radii.ndim == 3 else radii
    return accumulated, alpha, seen["means2d"], radius.to(means.dtype)
