"""Everything that a material says about a surface, as textures on its mesh."""

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.bake import bake, bake_normals, composite_inwards
from dreamkit.materials.base import AbstractMaterial
from dreamkit.mesh import Mesh
from dreamkit.representations.base import AbstractShape, AbstractVolume


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

    def bent(points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        normal = material.shading_normal(shape.features(points), normals)
        return normals if normal is None else normal

    painted = bake(mesh, composite_inwards(shape.density, look) if isinstance(shape, AbstractVolume) else look, size)
    one = mesh.vertices[:1]
    flat = material.shading_normal(shape.features(one), torch.zeros_like(one)) is None
    return painted if flat else bake_normals(painted, bent, size)
