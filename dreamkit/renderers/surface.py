"""Render a mesh: rasterise, look the colour up, light it if it is meant to be lit, average the sub-pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.materials.illumination import Illumination, environment_light
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import Fragments, interpolate, rasterize
from dreamkit.ops.tangents import corner_tangents
from dreamkit.ops.texture import sample_texture
from dreamkit.renderers.physical import bend_normals, constant_orm, shade_pixels
from dreamkit.rendering import Rendering
from dreamkit.vectors import decode_srgb, dot, encode_srgb, normalize

GREY = 0.7
"Display colour of a mesh that has neither texture nor vertex colours."


def render_surface(
    mesh: Mesh,
    cameras: Cameras,
    background: Float[Tensor, "3"] | None = None,
    supersample: int = 2,
    light: Illumination | None = None,
) -> Rendering:
    """Images of a mesh from each camera, over `background` (display colour; white when left out).

    Unlit meshes show their colour as it is. Those with an `orm` texture, and all lit ones where `light` is given (for
    one view, which then serves all, or for each), are metallic-roughness surfaces under it: the studio when left out.
    Other lit ones are lambertian in linear light under a headlight and a hemisphere:
    `encode(decode(c) (0.65 max(n.v, 0) + 0.35 (0.75 + 0.25 n_y)))`. Each pixel is the mean of `supersample`^2
    sub-pixels; depth is the mean distance along the ray over the sub-pixels that see the mesh. Not differentiable
    in the mesh. Raises ValueError when `supersample` is below 1.
    """
    if supersample < 1:
        raise ValueError(f"supersample counts sub-pixels per side and must be at least 1; got {supersample}")
    if background is None:
        background = mesh.vertices.new_ones(3)
    normals, closed = mesh.vertex_normals, is_closed(mesh)
    if light is None and mesh.orm is not None and not mesh.unlit:
        light = environment_light().to(mesh.vertices.device)
    # One camera at a time keeps the memory of a turntable that of a single frame.
    views = [
        _render_view(
            mesh, normals, closed, cameras[[i]], background, supersample, None if light is None else light.at(i)
        )
        for i in range(len(cameras))
    ]
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


def _render_view(
    mesh: Mesh,
    normals: Float[Tensor, "vertices 3"],
    closed: bool,
    camera: Cameras,
    background: Float[Tensor, "3"],
    supersample: int,
    light: Illumination | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    fragments = rasterize(mesh.vertices, mesh.faces, fine, cull=closed)
    towards = -fine.rays().directions
    normal = normalize(interpolate(normals, mesh.faces, fragments))
    color = surface_color(mesh, fragments)
    if not mesh.unlit and light is None:
        color = _light(color, normal, towards) * fragments.mask
    elif not mesh.unlit and light is not None:
        normal = _detailed(mesh, fragments, normal)
        color = _light_physically(mesh, fragments, color, normal, towards, light) * fragments.mask
    # Depth along the view axis becomes distance along the ray.
    distance = fragments.depth / dot(towards, camera.pose[:, None, None, :3, 2].expand_as(towards))
    alpha, premultiplied = _average(fragments.mask, supersample), _average(color, supersample)
    depth = _average(distance, supersample) / alpha.clamp_min(1e-8)
    return premultiplied + (1 - alpha) * background, alpha, depth, _average(normal, supersample)


def _detailed(
    mesh: Mesh, fragments: Fragments, normal: Float[Tensor, "batch height width 3"]
) -> Float[Tensor, "batch height width 3"]:
    """The normals that light sees: bent by the normal map where there is one."""
    if mesh.normal_map is None or mesh.uv is None or mesh.uv_faces is None:
        return normal
    corner = torch.arange(mesh.faces.numel(), device=mesh.faces.device).view_as(mesh.faces)
    tangent = interpolate(corner_tangents(mesh).reshape(-1, 4), corner, fragments)
    texel = sample_texture(mesh.normal_map, interpolate(mesh.uv, mesh.uv_faces, fragments))
    return bend_normals(normal, tangent, texel) * fragments.mask


def _light_physically(
    mesh: Mesh,
    fragments: Fragments,
    color: Float[Tensor, "batch height width 3"],
    normal: Float[Tensor, "batch height width 3"],
    towards: Float[Tensor, "batch height width 3"],
    light: Illumination,
) -> Float[Tensor, "batch height width 3"]:
    orm = constant_orm(mesh.roughness, mesh.metallic, color)
    if mesh.orm is not None and mesh.uv is not None and mesh.uv_faces is not None:
        orm = sample_texture(mesh.orm, interpolate(mesh.uv, mesh.uv_faces, fragments))
    seen = fragments.triangle >= 0
    position = interpolate(mesh.vertices, mesh.faces, fragments)
    first = torch.zeros_like(fragments.triangle)
    color_seen, *others = (value[seen] for value in (color, orm, position, normal, towards))
    shaded = shade_pixels(color_seen, *others, view=first[seen], light=light)
    return torch.zeros_like(color).masked_scatter(seen.unsqueeze(-1), shaded)


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
