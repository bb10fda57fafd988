"""Depth maps of any scene, fused into one truncated signed distance: a surface where the views agree on one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dreamkit.cameras import Cameras
from dreamkit.convert.to_gaussians import all_around
from dreamkit.convert.to_surface import ToSurface
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.grid_surface import GridSurface

SOLID = 0.5
"Rays that are more opaque than this end on a surface; the others see through empty space."
SEEN_THROUGH = 0.1
"A point away from all surfaces is empty where more than this share of the views looks through it."
CHUNK = 1 << 18
"Points in one look-up: bounds the memory."


@dataclass(frozen=True)
class DepthMaps:
    """What each pixel of some views sees first."""

    cameras: Cameras
    distance: Float[Tensor, "batch height width 1"]
    "Along the ray, scene units; without meaning where nothing is solid."
    alpha: Float[Tensor, "batch height width 1"]


@dataclass(frozen=True)
class Tsdf(ToSurface):
    """The signed distance of a grid's corners from depth maps all around, then colours and renders as in `ToSurface`.

    In each of `views` views of `size`^2 pixels, `d = D(pixel) - |x - camera|`; the distance is the mean of
    `clip(d, -t, t)` over the views with `d > -t`, t being `truncation` cells: what a view cannot see it says nothing
    about. Corners that hardly any sees into are inside. Clouds of Gaussians are asked for their median depth, other
    scenes for the depth that they render. A wall thinner than t, seen from both sides, may lose thickness. Source:
    Curless and Levoy 1996, as in 2DGS (arXiv 2403.17888); method card representations 6.9. Raises ValueError where
    nothing is solid or the shape is thinner than a cell.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractShape,)
    rank: ClassVar[int] = 1
    "Only where it is asked for: other converters know more of a shape than its pictures."

    views: int = 24
    size: int = 256
    truncation: float = 3.0

    def distances(self, teacher: Scene, student: GridSurface) -> Float[Tensor, " vertices"]:
        """See `ToSurface.distances`."""
        maps = depth_maps(teacher, all_around(2.5 * teacher.shape.radius, self.size, self.views, fov=50.0))
        return tidy(fuse(maps, student.corners, self.truncation * student.cell), student.resolution + 1)


@torch.no_grad()
def depth_maps(scene: Scene, cameras: Cameras) -> DepthMaps:
    """Render the scene's depth, a view at a time; raises ValueError where no ray of any view is solid."""
    drawn = [_look(scene, cameras[[i]]) for i in range(len(cameras))]
    distance, alpha = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    if not bool((alpha > SOLID).any()):
        raise ValueError(
            f"no ray of {len(cameras)} views is more opaque than {SOLID}, so there is no surface; train it longer"
        )
    return DepthMaps(cameras, distance, alpha)


def _look(scene: Scene, view: Cameras) -> tuple[Tensor, Tensor]:
    rendering = scene.render(view)
    if isinstance(scene.shape, Gaussians) and isinstance(scene.renderer, SplatRenderer):
        return scene.renderer.median_distance(scene.shape, view), rendering.alpha
    return rendering.depth, rendering.alpha


@torch.no_grad()
def fuse(maps: DepthMaps, points: Float[Tensor, "points 3"], truncation: float) -> Float[Tensor, " points"]:
    """Signed distances (negative inside, scene units) of points, between `-truncation` and `truncation`."""
    return torch.cat([_fuse_chunk(maps, part, truncation) for part in points.split(CHUNK)])


def _fuse_chunk(maps: DepthMaps, points: Float[Tensor, "points 3"], truncation: float) -> Float[Tensor, " points"]:
    total, near, free, hidden = torch.zeros(4, len(points), dtype=points.dtype, device=points.device)
    for view in range(len(maps.cameras)):
        gap, inside = _gaps(maps, view, points, truncation)
        speaks = inside & (gap > -truncation)
        total += torch.where(speaks, gap.clamp(max=truncation), 0.0)
        near += speaks & (gap <= truncation)
        free += speaks & (gap > truncation)
        hidden += inside & ~speaks
    # A pinhole in a wall of splats shows the far wall: a few views through it do not make the inside empty.
    empty = (free > SEEN_THROUGH * (free + hidden)) | (free + hidden == 0)
    return torch.where(near > 0, total / (near + free).clamp_min(1), torch.where(empty, truncation, -truncation))


def tidy(distance: Float[Tensor, " vertices"], side: int) -> Float[Tensor, " vertices"]:
    """The distances on a grid of side^3 corners with specks removed and closed pockets filled, which nobody can see.

    A part inside is kept where it has a hundredth of the largest one's corners.
    """
    grid = distance.view(side, side, side).cpu().numpy()
    parts = np.zeros(grid.shape, dtype=np.int32)
    ndimage.label(grid < 0, output=parts)
    count = np.bincount(parts.ravel())
    count[0] = 0
    speck = (count < 0.01 * count.max())[parts] & (parts > 0)
    outside = np.zeros([size + 2 for size in grid.shape], dtype=np.int32)
    ndimage.label(np.pad(grid >= 0, 1, constant_values=True), output=outside)
    pocket = (outside[1:-1, 1:-1, 1:-1] != outside[0, 0, 0]) & (grid >= 0)
    tidied = np.where(pocket | speck, -grid, grid)
    return torch.from_numpy(tidied).to(distance).view(-1)


def _gaps(
    maps: DepthMaps, view: int, points: Float[Tensor, "points 3"], truncation: float
) -> tuple[Float[Tensor, " points"], Tensor]:
    """How far the surface lies behind each point on its ray (infinite where the ray meets none), and who is framed."""
    camera = maps.cameras[[view]]
    x, y, depth = camera.project(points)[0].unbind(dim=-1)
    place = torch.stack([2 * x / camera.width - 1, 2 * y / camera.height - 1], dim=-1)
    inside = (depth > 0) & (place.abs() <= 1).all(dim=-1)
    solid = maps.alpha[view] > SOLID
    far = maps.distance[view].amax() + 10 * truncation
    image = torch.where(solid, maps.distance[view], far).permute(2, 0, 1)[None]
    nearest, blended = (
        functional.grid_sample(image, place[None, None], mode=mode, padding_mode="border", align_corners=False).view(-1)
        for mode in ("nearest", "bilinear")
    )
    # Between a surface and what lies far behind it there is nothing: no blending over an edge.
    surface = torch.where((blended - nearest).abs() < 0.5 * truncation, blended, nearest)
    surface = torch.where(surface < far - 0.5 * truncation, surface, torch.inf)
    return surface - (points - camera.position).norm(dim=-1), inside
