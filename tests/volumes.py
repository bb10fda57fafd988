"""Analytic fields with known shape and colour, and a volume renderer in a dozen lines to photograph them."""

from collections.abc import Callable

import torch
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.rendering import Rendering


def ball(radius: float = 0.6, width: float = 0.01, peak: float = 100.0) -> Callable[[Tensor], Tensor]:
    """Density of a ball whose border is `width` wide: `peak sigmoid((radius - |x|) / width)`."""
    return lambda points: peak * torch.sigmoid((radius - points.norm(dim=-1)) / width)


def torus(width: float = 0.01, peak: float = 100.0) -> Callable[[Tensor], Tensor]:
    """Density of a torus around the y axis, R = 0.5, r = 0.22."""

    def density(points: Tensor) -> Tensor:
        ring = points[:, [0, 2]].norm(dim=-1) - 0.5
        return peak * torch.sigmoid((0.22 - (ring**2 + points[:, 1] ** 2).sqrt()) / width)

    return density


def waves(points: Tensor, _: Tensor) -> Tensor:
    """A smooth colour: `0.5 + 0.4 sin(5 x)` for each axis."""
    return 0.5 + 0.4 * torch.sin(5 * points)


def photograph(
    density: Callable[[Tensor], Tensor],
    color: Callable[[Tensor, Tensor], Tensor],
    cameras: Cameras,
    background: Tensor,
    samples: int = 96,
) -> Rendering:
    """Volume rendering by the midpoint rule between distances 1.5 and 3.5."""
    rays = cameras.rays()
    origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
    shape = (len(cameras), cameras.height, cameras.width)
    step = 2.0 / samples
    transmittance = torch.ones(len(origins), 1)
    total, depth = torch.zeros(len(origins), 3), torch.zeros(len(origins), 1)
    for i in range(samples):
        distance = 1.5 + (i + 0.5) * step
        points = origins + distance * directions
        weight = transmittance * (1 - torch.exp(-density(points).unsqueeze(-1) * step))
        total, depth = total + weight * color(points, directions), depth + weight * distance
        transmittance = transmittance - weight
    alpha = 1 - transmittance
    image = (total + transmittance * background).view(*shape, 3)
    return Rendering(image, alpha.view(*shape, 1), (depth / alpha.clamp_min(1e-6)).view(*shape, 1))
