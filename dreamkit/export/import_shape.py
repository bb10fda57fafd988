"""A shape from a file that other tools wrote: a mesh with its texture, or a cloud of Gaussians."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.bake import fill_texture
from dreamkit.convert.unwrap import unwrap
from dreamkit.export.check_file import check_file
from dreamkit.export.import_asset import import_mesh
from dreamkit.export.read_splat_glb import holds_splats, read_splat_glb
from dreamkit.export.splat_file import DARKEST, SplatFile, from_splat_file
from dreamkit.export.splat_ply import read_splat_ply
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import interpolate, rasterize_chart
from dreamkit.ops.texture import sample_texture
from dreamkit.renderers.surface import GREY
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh
from dreamkit.vectors import middle_and_reach

HEADER = 1 << 14
"Bytes of a PLY file in which its properties are named."
OUTSIDE = 1e-3
"How far beyond its square a texture coordinate may lie: rounding, and no repetition."
LAID_OUT = 0.99
"Share of the triangles that must have an area in the texture."


def import_shape(path: Path, radius: float = 0.85, texture: int = 512) -> TexturedMesh | Gaussians:
    """What a GLB, glTF, OBJ, PLY, STL or OFF file holds, in a ball of `radius`, for the `Unlit` material.

    Of a mesh's look its base colour is kept: the texture, or vertex colours (grey where there are none) on a new one of
    `texture`^2 texels. A PLY with harmonics is a cloud of Gaussians, and so is a
    GLB with KHR_gaussian_splatting. Raises as `import_mesh`, `read_splat_ply` and `read_splat_glb` do.
    """
    path = Path(path)
    if holds_cloud(path):
        read = read_splat_ply if path.suffix.lower() == ".ply" else read_splat_glb
        return from_splat_file(_placed(read(path), radius))
    mesh = import_mesh(path, radius).mesh
    if mesh.texture is None or not _is_laid_out(mesh):
        mesh = _with_texture(mesh, texture)
    assert mesh.texture is not None
    shape = TexturedMesh(texture=texture)
    shape.replace_mesh(mesh, mesh.texture.clamp(DARKEST, 1 - DARKEST).logit())
    return shape


def holds_cloud(path: Path) -> bool:
    """Whether a file holds a cloud of Gaussians, and no mesh; raises FileNotFoundError and DamagedFile."""
    check_file(path)
    if path.suffix.lower() == ".ply":
        with path.open("rb") as file:
            return b"f_dc_0" in file.read(HEADER)
    return path.suffix.lower() == ".glb" and holds_splats(path)


def _is_laid_out(mesh: Mesh) -> bool:
    """Whether triangles lie in the texture's square and have an area there.

    Coordinates that repeat a texture lie beyond it, and some tools write nothing but zeros.
    """
    if mesh.uv is None or mesh.uv_faces is None:
        return False
    corners = mesh.uv[mesh.uv_faces]
    inside = bool((corners >= -OUTSIDE).all()) and bool((corners <= 1 + OUTSIDE).all())
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs()
    return inside and bool((area > 0).float().mean() > LAID_OUT)


def _with_texture(mesh: Mesh, size: int) -> Mesh:
    """The mesh with a texture of its colours, laid out anew unless its own coordinates can hold one."""
    unwrapped = mesh if _is_laid_out(mesh) else unwrap(mesh, size)
    assert unwrapped.uv is not None
    assert unwrapped.uv_faces is not None
    fragments = rasterize_chart(unwrapped.uv, unwrapped.uv_faces, size)
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        # Beyond its square a texture repeats itself, as it does wherever no file says otherwise.
        place = interpolate(mesh.uv, mesh.uv_faces, fragments)
        texture: Float[Tensor, "size size 3"] = sample_texture(mesh.texture, place - place.floor())[0]
    else:
        color = mesh.vertex_color
        shown = torch.full_like(mesh.vertices, GREY) if color is None else color
        texture = interpolate(shown, mesh.faces, fragments)[0]
    return replace(unwrapped, texture=fill_texture(texture, fragments.triangle[0] >= 0, dilation=8))


def _placed(file: SplatFile, radius: float) -> SplatFile:
    middle, reach = middle_and_reach(file.positions)
    if not float(reach) > 0:
        raise ValueError("all Gaussians of the file are at one place; there is no shape to import")
    scale = radius / reach
    return replace(file, positions=(file.positions - middle) * scale, scales=file.scales + scale.log())
