"""Splatting of Gaussian clouds: shade each Gaussian, draw colour, distance and normal in one pass, composite."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.lights import Lights
from dreamkit.ops.splat import Splatted, splat
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.rendering import Rendering, SplatStatistics
from dreamkit.representations.gaussians import Gaussians

LAYERS = 16
"Of the median depth. Two surfaces within a sixteenth of a view's depth range count as one."


class SplatRenderer(AbstractRenderer):
    """`color = sum w_i c_i + (1 - O) background`, depth `sum w_i |mu_i - camera| / O`, normal `sum w_i n_i`.

    The weights are those of `dreamkit.ops.splat`. Each Gaussian is shaded once a view, at its centre. `antialiased`
    should be the same in training and afterwards; the recipe stores it. In training the rendering carries
    `SplatStatistics` for density control and regularisers. Raises ValueError unless near > 0.
    """

    def __init__(self, antialiased: bool = True, near: float = 0.2) -> None:
        super().__init__()
        if not near > 0:
            raise ValueError(f"a SplatRenderer needs near > 0, the distance where Gaussians begin; got {near}")
        self.antialiased, self.near = antialiased, near

    def update(self, shape: nn.Module, progress: float, step: int, generator: torch.Generator) -> None:
        """Nothing to follow: Gaussians are where they say."""

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
        """See `AbstractRenderer.render`. Raises TypeError when the shape is no cloud of Gaussians."""
        cloud = _checked(shape)
        behind = background.color(cameras.rays().directions, generator)
        lights = None if generator is None else material.draw_lights(cameras, progress, generator)
        wanted = normals or (material.needs_normal and lights is not None)
        color, distance, normal = shade(cloud, material, lights, cameras, wanted)
        values = torch.cat([color, distance] if normal is None else [color, distance, normal], dim=-1)
        own = cloud.positions, cloud.deviations, cloud.rotations, cloud.alphas
        drawn = splat(*own, values, cameras, self.antialiased, self.near)
        return _develop(drawn, behind, cloud if generator is not None else None)

    @torch.no_grad()
    def median_distance(self, cloud: Gaussians, cameras: Cameras) -> Float[Tensor, "batch height width 1"]:
        """Distance along the ray behind which half of a pixel's light is left: no mean of front and back (card 6.9).

        The Gaussians of a view are sorted into `LAYERS` layers by distance; the answer is the mean distance in the
        layer where the opacity that has been gathered passes half of the pixel's. 0 where nothing is drawn.
        """
        distance = (cloud.positions - cameras.position[:, None].to(cloud.positions)).norm(dim=-1)
        low, high = distance.aminmax(dim=-1, keepdim=True)
        layer = ((distance - low) / (high - low).clamp_min(1e-8) * LAYERS).long().clamp(max=LAYERS - 1)
        member = torch.nn.functional.one_hot(layer, LAYERS).to(distance)
        values = torch.cat([member, member * distance.unsqueeze(-1)], dim=-1)
        own = cloud.positions, cloud.deviations, cloud.rotations, cloud.alphas
        drawn = splat(*own, values, cameras, self.antialiased, self.near)
        weight, moment = drawn.accumulated.split(LAYERS, dim=-1)
        middle = (
            (weight.cumsum(dim=-1) >= 0.5 * weight.sum(dim=-1, keepdim=True)).to(weight).argmax(dim=-1, keepdim=True)
        )
        chosen = weight.gather(-1, middle)
        return torch.where(chosen > 0, moment.gather(-1, middle) / chosen.clamp_min(1e-12), 0.0)


def shade(
    cloud: Gaussians, material: AbstractMaterial, lights: Lights | None, cameras: Cameras, normals: bool
) -> tuple[
    Float[Tensor, "views gaussians 3"], Float[Tensor, "views gaussians 1"], Float[Tensor, "views gaussians 3"] | None
]:
    """Colour, distance from the camera and, where they are wanted, normals that face it, for each Gaussian and view."""
    towards = cloud.positions - cameras.position[:, None].to(cloud.positions)
    distance = towards.norm(dim=-1, keepdim=True)
    directions = towards / distance.clamp_min(1e-8)
    normal = cloud.normals_to(directions) if normals else None
    views, count, _ = directions.shape
    points = ShadingPoints(
        cloud.seen_from(directions).reshape(views * count, -1),
        cloud.positions.expand(views, -1, -1).reshape(-1, 3),
        directions.reshape(-1, 3),
        torch.arange(views, device=directions.device).repeat_interleave(count),
        None if normal is None else normal.reshape(-1, 3),
    )
    return material.shade(points, lights).view(views, count, 3), distance, normal


def _develop(drawn: Splatted, behind: Float[Tensor, "batch height width 3"], training: Gaussians | None) -> Rendering:
    color, depth, normal = drawn.accumulated[..., :3], drawn.accumulated[..., 3:4], drawn.accumulated[..., 4:]
    statistics = None if training is None else statistics_of(drawn, training)
    seen = drawn.alpha > 0
    # Both branches of `where` get a gradient: the one not taken must not divide by zero.
    distance = torch.where(seen, depth / torch.where(seen, drawn.alpha, 1), 0)
    return Rendering(
        color + (1 - drawn.alpha) * behind,
        drawn.alpha,
        distance,
        normal if normal.shape[-1] else None,
        splats=statistics,
    )


def statistics_of(drawn: Splatted, cloud: Gaussians) -> SplatStatistics:
    """What density control and regularisers look at; the centres keep their gradient."""
    if drawn.centre.requires_grad:
        drawn.centre.retain_grad()
    height, width = drawn.alpha.shape[1:3]
    deviations = cloud.scales.exp() / cloud.radius
    return SplatStatistics(drawn.centre, drawn.radius, deviations, cloud.alphas, height, width)


def _checked(shape: nn.Module) -> Gaussians:
    if not isinstance(shape, Gaussians):
        raise TypeError(
            f"the splat renderer draws clouds of Gaussians; got {type(shape).__name__}, which needs another renderer"
        )
    return shape
