"""A fresh student for a teacher: the kind that was asked for, at a size that a laptop learns in a minute."""

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from dreamkit.construct import Spec, type_name
from dreamkit.materials.base import AbstractMaterial
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.renderers.surfels import SurfelRenderer
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.base import AbstractField, AbstractShape, AbstractSurface
from dreamkit.representations.density import DensityMap
from dreamkit.representations.flexi_mesh import FlexiMesh
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.mlp_field import MlpField
from dreamkit.representations.sdf_field import SdfField
from dreamkit.representations.tensor_field import CpField, VmField
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.representations.textured_mesh import TexturedMesh
from dreamkit.representations.triplane_field import TriplaneField
from dreamkit.representations.voxel_field import VoxelField

_LEVELS = HashLevels(levels=10, log2_table_size=15, growth=1.3)
SIZES: dict[type[AbstractShape], dict[str, Any]] = {
    HashField: {"levels": _LEVELS, "hidden": 32, "latent": True},
    MlpField: {"frequencies": 6, "width": 64, "depth": 4, "hidden": 32},
    VoxelField: {"resolutions": (96,)},
    VmField: {"resolution": 96, "density_rank": 8, "feature_rank": 16, "hidden": 32},
    CpField: {"resolution": 128, "density_rank": 48, "feature_rank": 48, "hidden": 32},
    TriplaneField: {"resolutions": (32, 96), "features": 12, "hidden": 32},
    SdfField: {"levels": _LEVELS, "hidden": 32, "sharpest": 200.0},
    TetMesh: {"levels": _LEVELS, "hidden": 32, "resolution": 48},
    FlexiMesh: {"levels": _LEVELS, "hidden": 32, "resolution": 48},
    TexturedMesh: {"texture": 256},
}
"Sizes of the fields for two CPU cores; kinds that are not named start from their constructor's defaults."

FLAT = DensityMap("trunc_exp", "none")
"Log-density 0 everywhere: inside the range that the density loss sees (card 1.4)."
SPHERE = 0.9
"An SDF starts as a sphere of this share of the radius, so that most of the cube is in that range as well."


def student_spec(teacher: AbstractShape, kind: type[AbstractShape], options: Mapping[str, Any]) -> Spec:
    """How to construct the student's shape; `options` go before the sizes above."""
    names = inspect.signature(kind).parameters
    start: dict[str, Any] = {"radius": teacher.radius, "channels": teacher.channels}
    start |= {"density_map": FLAT} if "density_map" in names else {}
    start |= {"sphere": SPHERE * teacher.radius} if kind is SdfField else {}
    arguments = {name: value for name, value in start.items() if name in names}
    return Spec(kind, type_name(kind), {**arguments, **SIZES.get(kind, {}), **options})


RENDERERS: dict[type[AbstractShape], Spec] = {
    AbstractField: Spec(VolumeRenderer, "volume_renderer", {"samples": 128}),
    Gaussians: Spec(SplatRenderer, "splat_renderer", {}),
    AbstractSurface: Spec(MeshRenderer, "mesh_renderer", {"supersample": 2}),
}
"What draws each kind, where the teacher's renderer cannot."


def renderer_spec(shape: type[AbstractShape]) -> Spec:
    """How to construct a renderer for a kind of shape; raises TypeError for kinds that none draws."""
    for drawn, spec in RENDERERS.items():
        if issubclass(shape, drawn):
            return spec
    raise TypeError(f"no renderer draws shapes of the kind {type_name(shape)}")


def student_scene(teacher: Scene, shape: AbstractShape, material: AbstractMaterial | None = None) -> Scene:
    """The shape with the teacher's material (or another one) and background, and its renderer where that draws it."""
    material = copy.deepcopy(teacher.material) if material is None else material
    background = copy.deepcopy(teacher.background)
    spec = renderer_spec(type(shape))
    same = isinstance(teacher.renderer, spec.cls)
    if isinstance(shape, Gaussians):
        # Flat clouds and round ones are drawn by different renderers, one of which extends the other.
        spec = Spec(SurfelRenderer, "surfel_renderer", {}) if shape.flat else spec
        same = type(teacher.renderer) is spec.cls
    return Scene(shape, material, background, copy.deepcopy(teacher.renderer) if same else spec.build())
