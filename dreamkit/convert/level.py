"""Choose the density level whose mesh looks most like the renders."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.convert.isosurface import DensityGrid, EmptySurface, surface_at
from dreamkit.convert.refine import observe, solve
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import rasterize
from dreamkit.renderers.surface import render_surface
from dreamkit.rendering import Rendering


@dataclass(frozen=True)
class Level:
    """An iso-level, and how well its surface agrees with the renders it was chosen by."""

    density: float
    agreement: float
    "The score that was maximised: silhouette IoU, or minus the mean squared image error."


def silhouette_agreement(mesh: Mesh, views: Rendering, cameras: Cameras) -> float:
    """Intersection over union of the mesh's silhouette with soft opacities, `sum min(m, a) / sum max(m, a)`."""
    mask = rasterize(mesh.vertices, mesh.faces, cameras).mask.to(views.alpha)
    union = torch.maximum(mask, views.alpha).sum()
    return float(torch.minimum(mask, views.alpha).sum() / union.clamp_min(1e-8))


def image_agreement(mesh: Mesh, views: Rendering, cameras: Cameras, background: Float[Tensor, "*image 3"]) -> float:
    """Minus the mean squared error of the mesh against odd views, with vertex colours that fit the even ones best.

    A fuzzy density looks larger in silhouette than where its colours sit, so the best silhouette is an inflated shape
    on which the colours of different views contradict each other. This score weighs both.
    """
    fit, check = slice(0, None, 2), slice(1, None, 2)
    background = background.expand_as(views.color)
    grey = replace(mesh, vertex_color=torch.full_like(mesh.vertices, 0.5))
    seen = observe(grey, select_views(views, fit), cameras[fit], background[fit])
    painted = replace(mesh, vertex_color=(0.5 + solve(seen, mesh.vertices, 10, 0.05)).clamp(0, 1))
    shown = render_surface(painted, cameras[check], torch.zeros_like(mesh.vertices[0]), supersample=1)
    color = shown.color + (1 - shown.alpha) * background[check]
    return -float((color - views.color[check]).square().mean())


def find_level(
    grid: DensityGrid,
    views: Rendering,
    cameras: Cameras,
    background: Float[Tensor, "*image 3"] | None = None,
    candidates: int = 6,
) -> Level:
    """The level whose surface agrees best with rendered views (some eight, around the object; card rep 8.1).

    With the views' `background` the images decide (`image_agreement`), without it their opacities do
    (`silhouette_agreement`). The search runs over logarithms: `candidates` levels from 0.02 / cell (or a hundredth of
    the largest density) to the largest, then as many between the best one's neighbours.
    Raises EmptySurface when the density is zero, ValueError when images do not match the cameras.
    """
    if len(views.color) != len(cameras):
        raise ValueError(f"the level search needs one view per camera; got {len(views.color)} and {len(cameras)}")
    highest = float(grid.values.max())
    if not highest > 0:
        raise EmptySurface(
            f"the density is nowhere positive (largest value met: {highest:.4g}), so no level has a surface. "
            "Train for more steps, start from a density blob, or raise the opacity weight of the recipe."
        )
    lowest = min(0.02 / grid.cell, 0.01 * highest)

    def score(level: float) -> float:
        mesh = surface_at(grid, level)
        if background is None:
            return silhouette_agreement(mesh, views, cameras)
        return image_agreement(mesh, views, cameras, background)

    return _climb(score, math.log(lowest), math.log(0.95 * highest), candidates)


def _climb(score: Callable[[float], float], low: float, high: float, candidates: int) -> Level:
    """Best of `candidates` + 2 logarithms in [low, high], then of as many between the best one's neighbours."""
    best = Level(math.exp(low), -math.inf)
    for _ in range(2):
        step = (high - low) / (candidates + 1)
        tried = [math.exp(low + step * i) for i in range(1, candidates + 1)]
        best = max([best, *(Level(level, score(level)) for level in tried)], key=lambda found: found.agreement)
        low, high = math.log(best.density) - step, math.log(best.density) + step
    return best


def select_views(views: Rendering, chosen: slice) -> Rendering:
    """Some of the views, with what the export needs of them: colour, alpha and depth."""
    return Rendering(views.color[chosen], views.alpha[chosen], views.depth[chosen])
