"""A grid that is set to a surface or a cloud: the same answers as at every vertex, and a picture without a fit."""

import pytest
import torch
import trimesh
from analytic_fields import Ball

from dreamkit.convert.explicit_grid import answers
from dreamkit.convert.fidelity import compare
from dreamkit.convert.gaussians_to_field import GaussiansToField
from dreamkit.convert.inherit import inherit_occupancy
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.pvd import surroundings_loss
from dreamkit.convert.samples import seen_density
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
from dreamkit.renderers.volume import VolumeRenderer
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
    # Measured: 29.8 dB. From random points the grid stayed fog, 11 dB.
    assert report.median_psnr > 27


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


class FoggyBall(Ball):
    """A ball in a thin fog."""

    def density(self, points: torch.Tensor, progress: float = 1.0) -> torch.Tensor:
        return super().density(points, progress) + 1.0


def test_what_the_teachers_rays_skip_is_not_learnt(generator: torch.Generator) -> None:
    """Low-rank tensors leave streaks of fog in cells that their own occupancy grid had closed long before."""
    ball = Ball(0.5, 20.0, 0.03)
    teacher = Scene(FoggyBall(0.5, 20.0, 0.03), renderer=VolumeRenderer(samples=48))
    teacher.renderer.occupancy.update(ball.density, 1.0, 0.05, 0, generator)
    points = torch.rand(5000, 3, generator=generator) * 2 - 1
    away = points.norm(dim=-1) > 0.75
    assert not seen_density(teacher)(points)[away].any()
    assert not answers(teacher)(points)[0][away].any()
    student = Scene(VoxelField(resolutions=(9,)), renderer=VolumeRenderer(samples=48))
    inherit_occupancy(teacher, student, generator)
    assert not student.renderer.occupancy.holds(points, 1.0)[away].any()
    # A student with the same fog is told that there is none.
    assert surroundings_loss(teacher, Scene(teacher.shape, renderer=VolumeRenderer()), 2000, generator) > 100
    assert student.renderer.occupancy.holds(points, 1.0)[points.norm(dim=-1) < 0.45].all()
