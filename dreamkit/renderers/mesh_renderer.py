"""Differentiable rendering of surfaces: rasterise, ask the material at the visible points, antialias, average."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial, ShadingPoints
from dreamkit.materials.lights import Lights
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import Fragments, interpolate, rasterize
from dreamkit.ops.silhouette import blend_silhouettes
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.renderers.surface import is_closed
from dreamkit.rendering import Rendering
from dreamkit.representations.base import AbstractSurface
from dreamkit.vectors import normalize


@dataclass(frozen=True)
class _Visible:
    """What the sub-pixels that see the mesh see, in the order of the image."""

    where: Bool[Tensor, "batch height width 1"]
    view: Int[Tensor, " points"]
    position: Float[Tensor, "points 3"]
    direction: Float[Tensor, "points 3"]
    "Unit, from the camera into the scene."
    normal: Float[Tensor, "points 3"]
    "Unit, interpolated from the vertex normals."
    face: Int[Tensor, " points"]
    weights: Float[Tensor, "points 3"]
    "Barycentric, in the face."

    def shaded(
        self, features: Float[Tensor, "points channels"], material: AbstractMaterial, lights: Lights | None
    ) -> Float[Tensor, "points 3"]:
        """Display colour."""
        points = ShadingPoints(features, self.position, self.direction, self.view, self.normal)
        return material.shade(points, lights)


def _look(mesh: Mesh, fragments: Fragments, directions: Float[Tensor, "batch height width 3"]) -> _Visible:
    seen = fragments.triangle >= 0
    position = interpolate(mesh.vertices, mesh.faces, fragments)[seen]
    normal = normalize(interpolate(mesh.vertex_normals, mesh.faces, fragments)[seen])
    face, weights = fragments.triangle[seen], fragments.barycentric[seen]
    return _Visible(seen.unsqueeze(-1), seen.nonzero()[:, 0], position, directions[seen], normal, face, weights)


class MeshRenderer(AbstractRenderer):
    """`color = m c(x) + (1 - m) background` at the visible point x of each sub-pixel, antialiased along silhouettes.

    Colours, depths and normals are differentiable through x; the silhouette moves through `ops/silhouette.py` alone.
    A pixel is the mean of `supersample`^2
    sub-pixels. While less than the share `normals_until` of the run is done, a training render shows the normals,
    `color = (n + 1) / 2` in world axes, so that guidance shapes before it paints (Fantasia3D, arXiv 2303.13873).
    Raises ValueError for settings without meaning.
    """

    def __init__(self, supersample: int = 1, normals_until: float = 0.0, near: float = 1e-2) -> None:
        super().__init__()
        if supersample < 1 or not 0 <= normals_until <= 1 or not near > 0:
            raise ValueError(
                f"a MeshRenderer needs supersample >= 1, normals_until in [0, 1] and near > 0; got "
                f"supersample={supersample}, normals_until={normals_until}, near={near}"
            )
        self.supersample, self.normals_until, self.near = supersample, normals_until, near

    def update(self, shape: nn.Module, progress: float, step: int, generator: torch.Generator) -> None:
        """Nothing to follow: the mesh is made anew for each batch of views."""

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
        """See `AbstractRenderer.render`. Normals are always there. Raises TypeError when the shape is not a surface."""
        if not isinstance(shape, AbstractSurface):
            raise TypeError(f"the mesh renderer draws surfaces; got {type(shape).__name__}, which needs another one")
        lights = None if generator is None else material.draw_lights(cameras, progress, generator)
        fine = cameras.resized(cameras.height * self.supersample, cameras.width * self.supersample)
        directions = fine.rays().directions
        behind = background.color(directions, generator)
        state = shape.surface(progress)
        mesh = state.mesh
        closed = state.is_closed or is_closed(mesh)
        fragments = rasterize(mesh.vertices, mesh.faces, fine, self.near, cull=closed)
        seen = _look(mesh, fragments, directions)
        if generator is not None and progress < self.normals_until:
            color = (seen.normal + 1) / 2
        else:
            features = shape.features_on(seen.position, seen.face, seen.weights, progress)
            color = seen.shaded(features, material, lights)
        image = torch.cat([color, torch.ones_like(color[:, :1]), seen.normal], dim=-1)
        behind = torch.cat([behind, torch.zeros_like(behind[..., :1]), torch.zeros_like(behind)], dim=-1)
        hard = behind.masked_scatter(seen.where, image)
        soft = self._average(blend_silhouettes(hard, fragments, mesh.vertices, mesh.faces, fine, mesh.edges))
        away = (seen.position - fine.position[seen.view]).square().sum(dim=-1, keepdim=True).sqrt()
        distance = torch.zeros_like(fragments.depth).masked_scatter(seen.where, away)
        depth = self._average(distance) / self._average(fragments.mask).clamp_min(1e-8)
        kept = None if generator is None else state
        return Rendering(soft[..., :3].clamp(0, 1), soft[..., 3:4].clamp(0, 1), depth, soft[..., 4:], surface=kept)

    def _average(self, image: Float[Tensor, "batch rows columns channels"]) -> Tensor:
        return torch.nn.functional.avg_pool2d(image.movedim(-1, 1), self.supersample).movedim(1, -1)
