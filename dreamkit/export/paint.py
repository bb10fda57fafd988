"""Everything that a material says about a surface, as textures on its mesh."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.bake import bake, bake_normals, composite_inwards
from dreamkit.materials.base import AbstractMaterial
from dreamkit.mesh import Mesh
from dreamkit.representations.base import AbstractShape, AbstractVolume
from dreamkit.representations.textured_mesh import TexturedMesh


def paint_own(shape: TexturedMesh, material: AbstractMaterial) -> Mesh:
    """The triangles of `shape` with its own coordinates and texels as textures: nothing is sampled, nothing is lost.

    The same textures as those of `paint`.
    """
    raw = shape.texels.reshape(-1, shape.channels)
    mesh = Mesh(shape.vertices, shape.faces, shape.uv, shape.uv_faces)
    maps, size = material.surface_maps(raw), shape.texels.shape[:2]
    textures = {"texture": material.base_color(raw), "orm": maps}
    shown = {name: value.view(*size, 3) for name, value in textures.items() if value is not None}
    return _with_normals(replace(mesh, **shown), shape, material, max(size))


def paint(shape: AbstractShape, material: AbstractMaterial, mesh: Mesh, size: int) -> Mesh:
    """The unwrapped mesh of `shape` with square textures of `size` texels a side.

    Base colour always; occlusion, roughness and metallic where the material has them; a normal map where it bends
    normals. Colours of volumes are composited inwards, as a camera sees them; normals are taken at the surface.
    Raises ValueError without texture coordinates.
    """

    def look(points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        features = shape.features(points)
        base, maps = material.base_color(features), material.surface_maps(features)
        return base if maps is None else torch.cat([base, maps], dim=-1)

    painted = bake(mesh, composite_inwards(shape.density, look) if isinstance(shape, AbstractVolume) else look, size)
    return _with_normals(painted, shape, material, size)


def _with_normals(mesh: Mesh, shape: AbstractShape, material: AbstractMaterial, size: int) -> Mesh:
    """A normal map as well, for a material that bends normals."""

    def bent(points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        normal = material.shading_normal(shape.features(points), normals)
        return normals if normal is None else normal

    one = mesh.vertices[:1]
    flat = material.shading_normal(shape.features(one), torch.zeros_like(one)) is None
    return mesh if flat else bake_normals(mesh, bent, size)
