"""Splatting of surfels: each ray meets the disks themselves, so depth and normals are those of a surface (2DGS)."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.cameras import Cameras, Rays
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial
from dreamkit.ops.splat_disks import SplattedDisks, splat_disks
from dreamkit.renderers.splats import SplatRenderer, shade, statistics_of
from dreamkit.rendering import Rendering, SplatStatistics
from dreamkit.representations.gaussians import Gaussians
from dreamkit.vectors import dot, normalize


class SurfelRenderer(SplatRenderer):
    """As `SplatRenderer`, for flat clouds, with the weights of `dreamkit.ops.splat_disks`.

    Depth is the harmonic mean of the depths at which the pixel's ray meets the disks. In training the statistics carry
    the images that 2DGS's two losses look at: the distortion of the inverse depths (per squared scene unit), and the
    normals of the surface that the depths describe, times alpha. Source: arXiv 2403.17888; card 6.8. Raises ValueError
    unless near > 0.
    """

    def __init__(self, near: float = 0.2) -> None:
        super().__init__(antialiased=False, near=near)

    def render(
        self,
        shape: nn.Module,
        material: AbstractMaterial,
        background: AbstractBackground,
        cameras: Cameras,
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
        normals: bool = False,
    ) -> Rendering:
        """See `AbstractRenderer.render`. Raises TypeError unless the shape is a cloud of flat Gaussians."""
        cloud = _checked(shape)
        rays = cameras.rays()
        behind = background.color(rays.directions, generator)
        lights = material.draw_lights(cameras, progress, generator) if generator is not None else None
        color, _, normal = shade(cloud, material, lights, cameras, normals=True)
        assert normal is not None
        own = cloud.positions, cloud.deviations[:, :2], cloud.rotations, cloud.alphas
        drawn = splat_disks(*own, torch.cat([color, normal], dim=-1), cameras, self.near)
        color, normal = drawn.accumulated.split(3, dim=-1)
        # Along the ray: the depth along the view axis over the cosine of the angle between the two.
        cosine = -dot(rays.directions, cameras.pose[:, None, None, :3, 2].to(rays.directions))
        distance = drawn.depth / cosine
        statistics = _statistics(drawn, cloud, rays, distance) if generator is not None else None
        return Rendering(color + (1 - drawn.alpha) * behind, drawn.alpha, distance, normal, splats=statistics)


def depth_normals(
    distance: Float[Tensor, "batch height width 1"], alpha: Float[Tensor, "batch height width 1"], rays: Rays
) -> Float[Tensor, "batch height width 3"]:
    """Unit normals of the surface that a depth map describes, towards the camera, by differences over two pixels.

    Zero on the border, and where a neighbour is less than half opaque: there is no one surface there.
    """
    points = rays.origins + distance * rays.directions
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normal = normalize(torch.linalg.cross(down, across))
    normal = torch.where(dot(normal, rays.directions[:, 1:-1, 1:-1]) > 0, -normal, normal)
    least = -functional.max_pool2d(-alpha.detach().permute(0, 3, 1, 2), 3, stride=1).permute(0, 2, 3, 1)
    return functional.pad(normal * (least > 0.5), (0, 0, 1, 1, 1, 1))


def _statistics(
    drawn: SplattedDisks, cloud: Gaussians, rays: Rays, distance: Float[Tensor, "batch height width 1"]
) -> SplatStatistics:
    normal = depth_normals(distance, drawn.alpha, rays) * drawn.alpha.detach()
    return replace(statistics_of(drawn, cloud), distortion=drawn.distortion, depth_normal=normal)


def _checked(shape: nn.Module) -> Gaussians:
    if not isinstance(shape, Gaussians) or not shape.flat:
        kind = "round Gaussians" if isinstance(shape, Gaussians) else type(shape).__name__
        raise TypeError(
            f"the surfel renderer draws clouds of flat Gaussians (shape.flat = true); got {kind}, which need another "
            "renderer"
        )
    return shape
