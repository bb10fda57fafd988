"""Render a mesh: rasterise, look the colour up, light it if it is meant to be lit, average the sub-pixels."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import Fragments, interpolate, rasterize
from dreamkit.rendering import Rendering
from dreamkit.vectors import decode_srgb, dot, encode_srgb, normalize

GREY = 0.7
"Display colour of a mesh that has neither texture nor vertex colours."


def render_surface(
    mesh: Mesh,
    cameras: Cameras,
    background: Float[Tensor, "3"] | None = None,
    supersample: int = 2,
) -> Rendering:
    """Images of a mesh from each camera, over `background` (display colour; white when left out).

    Unlit meshes show their colour as it is. Lit ones are lambertian in linear light under a headlight and a hemisphere:
    `encode(decode(c) (0.65 max(n.v, 0) + 0.35 (0.75 + 0.25 n_y)))`. Each pixel is the mean of `supersample`^2
    sub-pixels; depth is the mean distance along the ray over the sub-pixels that see the mesh. Not differentiable
    in the mesh. Raises ValueError when `supersample` is below 1.
    """
    if supersample < 1:
        raise ValueError(f"supersample counts sub-pixels per side and must be at least 1; got {supersample}")
    if background is None:
        background = mesh.vertices.new_ones(3)
    normals, closed = mesh.vertex_normals, is_closed(mesh)
    # One camera at a time keeps the memory of a turntable that of a single frame.
    views = [_render_view(mesh, normals, closed, cameras[[i]], background, supersample) for i in range(len(cameras))]
    color, alpha, depth, normal = (torch.cat(parts) for parts in zip(*views, strict=True))
    return Rendering(color, alpha, depth, normal)


def is_closed(mesh: Mesh) -> bool:
    """True when each edge is used once in each direction and the volume is positive: back faces are never seen."""
    a, b = mesh.faces, mesh.faces.roll(-1, dims=1)
    forth, back = ((p * len(mesh.vertices) + q).reshape(-1).sort().values for p, q in ((a, b), (b, a)))
    return torch.equal(forth, back) and mesh.volume > 0


def surface_color(mesh: Mesh, fragments: Fragments) -> Float[Tensor, "batch height width 3"]:
    """Display colour of the visible surface: texture, else vertex colours, else grey; zero where nothing is seen."""
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        uv = interpolate(mesh.uv, mesh.uv_faces, fragments)
        return sample_texture(mesh.texture, uv) * fragments.mask
    if mesh.vertex_color is not None:
        return interpolate(mesh.vertex_color, mesh.faces, fragments)
    return GREY * fragments.mask.expand(*fragments.mask.shape[:-1], 3)


def sample_texture(
    texture: Float[Tensor, "rows columns channels"], uv: Float[Tensor, "batch height width 2"]
) -> Float[Tensor, "batch height width channels"]:
    """Bilinear lookup; uv (0, 0) is the texture's top-left corner, and coordinates outside [0, 1] are clamped."""
    image = texture.permute(2, 0, 1).expand(len(uv), -1, -1, -1)
    found = F.grid_sample(image, uv * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _render_view(
    mesh: Mesh,
    normals: Float[Tensor, "vertices 3"],
    closed: bool,
    camera: Cameras,
    background: Float[Tensor, "3"],
    supersample: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    fragments = rasterize(mesh.vertices, mesh.faces, fine, cull=closed)
    towards = -fine.rays().directions
    normal = normalize(interpolate(normals, mesh.faces, fragments))
    color = surface_color(mesh, fragments)
    if not mesh.unlit:
        color = _light(color, normal, towards) * fragments.mask
    # Depth along the view axis becomes distance along the ray.
    distance = fragments.depth / dot(towards, camera.pose[:, None, None, :3, 2].expand_as(towards))
    alpha, premultiplied = _average(fragments.mask, supersample), _average(color, supersample)
    depth = _average(distance, supersample) / alpha.clamp_min(1e-8)
    return premultiplied + (1 - alpha) * background, alpha, depth, _average(normal, supersample)


def _light(
    color: Float[Tensor, "batch height width 3"],
    normal: Float[Tensor, "batch height width 3"],
    towards: Float[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch height width 3"]:
    headlight = dot(normal, towards).clamp_min(0)
    hemisphere = 0.75 + 0.25 * normal[..., 1:2]
    return encode_srgb(decode_srgb(color) * (0.65 * headlight + 0.35 * hemisphere))


def _average(image: Float[Tensor, "batch rows columns channels"], factor: int) -> Tensor:
    """Mean of blocks of `factor` by `factor` pixels."""
    batch, rows, columns, channels = image.shape
    return image.view(batch, rows // factor, factor, columns // factor, factor, channels).mean(dim=(2, 4))
