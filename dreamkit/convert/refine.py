"""Make a baked texture agree with rendered views: linear least squares through the rasteriser."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.convert.bake import fill_texture
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import interpolate, rasterize, rasterize_chart
from dreamkit.renderers.surface import is_closed, surface_color
from dreamkit.rendering import Rendering
from dreamkit.vectors import dot


@dataclass(frozen=True)
class Observations:
    """Pixels of rendered views that see the surface: the rows of a sparse linear system."""

    vertices: Int[Tensor, "pixels 3"]
    barycentric: Float[Tensor, "pixels 3"]
    residual: Float[Tensor, "pixels 3"]
    "What the render shows minus what the texture shows, display colour."
    weight: Float[Tensor, "pixels 1"]
    "Trust in the pixel: `alpha^2 |n.v|`, zero where the render is less than half opaque."


def refine_texture(
    mesh: Mesh,
    views: Rendering,
    cameras: Cameras,
    background: Float[Tensor, "*image 3"],
    rounds: int = 20,
    damping: float = 0.05,
    dilation: int = 8,
) -> Mesh:
    """Correct the texture of an unlit mesh so that it looks like `views` of the scene it came from.

    Unlit rendering is linear in the texture, so this is least squares: find a correction d on the vertices, spread
    over the faces by A, that minimises `sum_p w_p |r_p - (A d)_p|^2`, by `rounds` steps of
    `d += (A^T w (r - A d)) / (A^T w + damping)` (SIRT: Gilbert, J. Theor. Biol. 36, 1972). Living on vertices, it has
    no seams and does not touch the texture's finer detail; vertices that no view sees keep their colour. `background`
    is the display colour (or images) behind the views, which is taken out of half-covered pixels first.
    Raises ValueError for a mesh without texture or a lit one.
    """
    if mesh.texture is None or mesh.uv is None or mesh.uv_faces is None:
        raise ValueError("refine_texture needs a textured mesh; call unwrap and bake first")
    if not mesh.unlit:
        raise ValueError("refine_texture needs an unlit mesh: a lit one does not show its texture as it is")
    seen = observe(mesh, views, cameras, background)
    correction = solve(seen, mesh.vertices, rounds, damping)
    size = len(mesh.texture)
    fragments = rasterize_chart(mesh.uv, mesh.uv_faces, size)
    covered = fragments.triangle[0] >= 0
    texture = (mesh.texture + interpolate(correction, mesh.faces, fragments)[0]).clamp(0, 1)
    return replace(mesh, texture=fill_texture(texture, covered, dilation))


def observe(mesh: Mesh, views: Rendering, cameras: Cameras, background: Float[Tensor, "*image 3"]) -> Observations:
    """Every pixel that sees the mesh and is at least half opaque in the render."""
    fragments = rasterize(mesh.vertices, mesh.faces, cameras, cull=is_closed(mesh))
    alpha = views.alpha
    # The colour of the object alone: composited images are `c alpha + (1 - alpha) background`.
    target = ((views.color - (1 - alpha) * background) / alpha.clamp_min(0.5)).clamp(0, 1)
    normals = interpolate(mesh.vertex_normals, mesh.faces, fragments)
    weight = alpha.square() * dot(normals, cameras.rays().directions).abs()
    seen = (fragments.triangle >= 0) & (alpha.squeeze(-1) > 0.5)
    residual = target - surface_color(mesh, fragments)
    return Observations(mesh.faces[fragments.triangle[seen]], fragments.barycentric[seen], residual[seen], weight[seen])


def solve(
    seen: Observations, vertices: Float[Tensor, "vertices 3"], rounds: int, damping: float
) -> Float[Tensor, "vertices 3"]:
    """The correction on the vertices that explains the residuals best; see `refine_texture`."""
    share = seen.barycentric * seen.weight
    total = vertices.new_zeros(len(vertices), 1)
    correction = vertices.new_zeros(len(vertices), 3)
    for i in range(3):
        total.index_add_(0, seen.vertices[:, i], share[:, i, None])
    for _ in range(rounds):
        shown = sum(seen.barycentric[:, i, None] * correction[seen.vertices[:, i]] for i in range(3))
        missing, step = seen.residual - shown, torch.zeros_like(correction)
        for i in range(3):
            step.index_add_(0, seen.vertices[:, i], share[:, i, None] * missing)
        correction = correction + step / (total + damping)
    return correction
