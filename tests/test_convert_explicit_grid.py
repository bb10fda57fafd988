"""A grid that is set to a surface or a cloud: the same answers as at every vertex, and a picture without a fit."""

import pytest
import torch
import trimesh

from dreamkit.convert.fidelity import compare
from dreamkit.convert.gaussians_to_field import GaussiansToField
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.signed_distance import signed_distance
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.convert.surface_to_field import SurfaceToField
from dreamkit.convert.thick_surface import ThickSurface
from dreamkit.materials.backgrounds import Solid
from dreamkit.mesh import Mesh
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.representations.density import volsdf_density
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.representations.voxel_field import VoxelField

BRIEF = PictureFit(1, 2, 16, 16)
"A step that changes next to nothing: what is seen is the start."


def torus() -> Mesh:
    solid = trimesh.creation.torus(0.5, 0.2, 48, 24)
    return Mesh(torch.tensor(solid.vertices, dtype=torch.float32), torch.tensor(solid.faces, dtype=torch.int64))


def test_far_points_are_not_asked_and_answer_the_same() -> None:
    shape = TetMesh(resolution=4, levels=HashLevels(levels=2, log2_table_size=8))
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    density, channels = ThickSurface(shape, torus(), 0.015)(points)
    distance = signed_distance(torus(), points)
    # Beyond ten widths density is 67 or less than 67 exp(-10) / 2 = 1.5e-3, and near the surface the same numbers.
    assert torch.allclose(density, volsdf_density(distance, 1 / 0.015), atol=2e-3)
    asked = channels.any(dim=1)
    assert asked[distance.abs() < 0.15].all()
    # Measured: 0.19.
    assert asked.double().mean() < 0.3


def test_a_surface_is_seen_in_the_grid_before_any_fit() -> None:
    shape = TetMesh(resolution=16, levels=HashLevels(levels=4, log2_table_size=10))
    teacher = Scene(shape, background=Solid(), renderer=MeshRenderer())
    student = student_scene(teacher, student_spec(shape, VoxelField, {"resolutions": (48,)}).build(seed=0))
    for _ in SurfaceToField(fit=BRIEF).convert(teacher, student):
        pass
    report = compare(teacher, student)
    # Measured: 22.5 dB. From random points the grid stayed fog, 11 dB.
    assert report.median_psnr > 21


@pytest.mark.parametrize("opacity", [0.5, 0.95])
def test_a_cloud_is_seen_in_the_grid_before_any_fit(opacity: float) -> None:
    cloud = Gaussians(count=400, size=0.5, opacity=opacity, seed=1)
    teacher = Scene(cloud, background=Solid(), renderer=SplatRenderer())
    student = student_scene(teacher, student_spec(cloud, VoxelField, {"resolutions": (48,)}).build(seed=0))
    for _ in GaussiansToField(fit=BRIEF).convert(teacher, student):
        pass
    report = compare(teacher, student)
    # Measured: 34.0 and 22.0 dB.
    assert report.median_psnr > 20
