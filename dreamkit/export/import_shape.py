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
from dreamkit.renderers.surface import GREY
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh
from dreamkit.vectors import middle_and_reach

HEADER = 1 << 14
"Bytes of a PLY file in which its properties are named."


def import_shape(path: Path, radius: float = 0.85, texture: int = 512) -> TexturedMesh | Gaussians:
    """What a GLB, glTF, OBJ, PLY, STL or OFF file holds, in a ball of `radius`, for the `Unlit` material.

    Of a mesh's look its base colour is kept: the texture, or vertex colours (grey where there are none) on a new one of
    `texture`^2 texels. A PLY with harmonics is a cloud of Gaussians, and so is a
    GLB with KHR_gaussian_splatting. Raises as `import_mesh`, `read_splat_ply` and `read_splat_glb` do.
    """
    path = Path(path)
    if path.suffix.lower() == ".ply" and path.is_file() and b"f_dc_0" in path.open("rb").read(HEADER):
        check_file(path)
        return from_splat_file(_placed(read_splat_ply(path), radius))
    if path.suffix.lower() == ".glb" and holds_splats(path):
        return from_splat_file(_placed(read_splat_glb(path), radius))
    mesh = import_mesh(path, radius).mesh
    if mesh.texture is None:
        mesh = _with_texture(mesh, texture)
    assert mesh.texture is not None
    shape = TexturedMesh(texture=texture)
    shape.replace_mesh(mesh, mesh.texture.clamp(DARKEST, 1 - DARKEST).logit())
    return shape


def _with_texture(mesh: Mesh, size: int) -> Mesh:
    color = mesh.vertex_color
    unwrapped = unwrap(mesh, size)
    assert unwrapped.uv is not None
    assert unwrapped.uv_faces is not None
    fragments = rasterize_chart(unwrapped.uv, unwrapped.uv_faces, size)
    shown = torch.full_like(mesh.vertices, GREY) if color is None else color
    texture: Float[Tensor, "size size 3"] = interpolate(shown, mesh.faces, fragments)[0]
    return replace(unwrapped, texture=fill_texture(texture, fragments.triangle[0] >= 0, dilation=8))


def _placed(file: SplatFile, radius: float) -> SplatFile:
    middle, reach = middle_and_reach(file.positions)
    if not float(reach) > 0:
        raise ValueError("all Gaussians of the file are at one place; there is no shape to import")
    scale = radius / reach
    return replace(file, positions=(file.positions - middle) * scale, scales=file.scales + scale.log())
