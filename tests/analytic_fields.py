"""Fields whose pictures are known in closed form."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.representations.base import AbstractField


class Ball(AbstractField):
    """A ball with a smooth texture: density `sigma` inside `size`, falling off over `edge` (0: a sharp border)."""

    def __init__(self, size: float = 0.5, sigma: float = 5.0, edge: float = 0.0, radius: float = 1.0) -> None:
        super().__init__()
        self.radius, self.channels = radius, 3
        self.size, self.sigma, self.edge = size, sigma, edge

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        return points

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        depth = self.size - encoding.norm(dim=-1)
        if self.edge:
            return self.sigma * torch.sigmoid(depth / self.edge)
        return self.sigma * (depth > 0).to(depth)

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        return 3 * torch.sin(4 * encoding + torch.tensor([0.0, 1.0, 2.0]).to(encoding))

    def spacing(self, progress: float = 1.0) -> float:
        return 0.01

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def network_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())


def ball_opacity(cameras: Cameras, size: float, sigma: float) -> Float[Tensor, "batch height width 1"]:
    """`1 - exp(-2 sigma sqrt(size^2 - b^2))`, b the distance of the ray from the centre (card 13.2)."""
    rays = cameras.rays()
    miss = torch.linalg.cross(rays.origins, rays.directions).square().sum(dim=-1, keepdim=True)
    return 1 - torch.exp(-2 * sigma * (size**2 - miss).clamp_min(0).sqrt())


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of images in [0, 1], in dB."""
    return float(-10 * torch.log10((a - b).square().mean().clamp_min(1e-20)))
