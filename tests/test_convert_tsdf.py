"""Fusion of depth maps (rep card 6.9, T6.5, T11.4): a ball in closed form, and solids of surface splats."""

import igl
import numpy as np
import pytest
import torch
import trimesh
from analytic_fields import Ball

from dreamkit.cameras import orbit
from dreamkit.convert.fidelity import Fidelity
from dreamkit.convert.gaussians_to_surface import GaussiansToSurface
from dreamkit.convert.plan import find_route
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.convert.students import student_scene
from dreamkit.convert.to_gaussians import all_around
from dreamkit.convert.to_surface import ToSurface
from dreamkit.convert.tsdf import DepthMaps, Tsdf, depth_maps, fuse, tidy
from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import grid_points, kuhn_tets, marching_tets
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.renderers.surface import is_closed
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.gaussian_init import mesh_cloud, sample_surface
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.tet_mesh import TetMesh


def exact_maps(radius: float, views: int = 24, size: int = 128) -> DepthMaps:
    """A ball around the origin, seen exactly."""
    cameras = all_around(2.5, size, views, fov=50.0)
    rays = cameras.rays()
    along = (rays.origins * rays.directions).sum(dim=-1, keepdim=True)
    root = along.square() - (rays.origins.square().sum(dim=-1, keepdim=True) - radius**2)
    return DepthMaps(cameras, -along - root.clamp_min(0).sqrt(), (root > 0).float())


def solid(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices, dtype=torch.float32), torch.tensor(shape.faces))


def splats_on(mesh: Mesh, count: int = 20_000) -> Scene:
    cloud = mesh_cloud(mesh, torch.zeros(count, 3), torch.Generator().manual_seed(0))
    # mesh_cloud takes the places that the same generator gives.
    assert torch.equal(cloud.positions, sample_surface(mesh, count, torch.Generator().manual_seed(0))[0])
    return Scene(Gaussians.holding(cloud), renderer=SplatRenderer())


def sphere_of_splats(count: int = 20_000, radius: float = 0.6) -> Scene:
    return splats_on(solid(trimesh.creation.icosphere(4, radius=radius)), count)


def fused(scene: Scene, resolution: int) -> Mesh:
    maps = depth_maps(scene, all_around(2.5, 128, 24, fov=50.0))
    distance = fuse(maps, grid_points(resolution, -torch.ones(3), torch.ones(3)), 3 * 2 / resolution)
    return surface_of(tidy(distance, resolution + 1), resolution)


def surface_of(distance: torch.Tensor, resolution: int) -> Mesh:
    ones = torch.ones(3)
    points = grid_points(resolution, -ones, ones)
    return Mesh(*marching_tets(points, distance, kuhn_tets(resolution, distance < 0)))


def test_a_ball_that_is_seen_exactly_is_found():
    resolution, cell = 40, 2 / 40
    points = grid_points(resolution, -torch.ones(3), torch.ones(3))
    distance = fuse(exact_maps(0.6), points, 3 * cell)
    truth = points.norm(dim=-1) - 0.6
    # Measured: no sign is wrong farther than 0.13 cells from the ball. Distances are too large by up to 1.8 cells
    # outside, where views that pass the ball by count as well; the zero level is what is right.
    assert ((distance < 0) == (truth < 0))[truth.abs() > 0.2 * cell].all()
    assert (distance[truth < -4 * cell] == -3 * cell).all()
    assert (distance[truth > 4 * cell] == 3 * cell).all()


def test_what_no_picture_holds_is_empty_and_what_nobody_sees_into_is_inside():
    # One camera at +Z: it sees the ball's front, and nothing behind its own back.
    found = fuse(exact_maps(0.6, views=1), torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]), 0.1)
    assert found.tolist() == pytest.approx([-0.1, 0.1])


def test_t6_5_a_sphere_of_surface_splats_becomes_one_closed_surface():
    cell = 2 / 64
    mesh = fused(sphere_of_splats(), 64)
    assert mesh.euler_characteristic == 2
    assert is_closed(mesh)
    away = (mesh.vertices.norm(dim=-1) - 0.6).abs()
    # Measured: 0.15 voxels on average, 1.19 at most; the card allows a Chamfer distance of 1.5.
    assert away.mean() < 0.3 * cell
    assert away.max() < 1.5 * cell


@pytest.mark.parametrize(
    ("shape", "chi"),
    [(trimesh.creation.torus(0.5, 0.2, 96, 48), 0), (trimesh.creation.box((1.0, 0.8, 1.2)), 2)],
    ids=["torus", "box"],
)
def test_t11_4_a_mesh_comes_back_through_gaussians(shape: trimesh.Trimesh, chi: int):
    truth = solid(shape)
    back = fused(splats_on(truth), 64)
    assert back.euler_characteristic == chi
    box = float((truth.vertices.amax(dim=0) - truth.vertices.amin(dim=0)).max())
    # The card allows 2 % of the box. Measured: 0.29 % (torus) and 0.51 % (box, whose edges are rounded by a voxel).
    assert (distance_to(back, truth) + distance_to(truth, back)) / 2 < 0.01 * box


def distance_to(a: Mesh, b: Mesh) -> float:
    """Mean distance from points on a's surface to b's."""
    points, _ = trimesh.sample.sample_surface(trimesh.Trimesh(a.vertices.numpy(), a.faces.numpy()), 4000, seed=0)
    squared, *_ = igl.point_mesh_squared_distance(
        np.ascontiguousarray(points), b.vertices.double().numpy(), b.faces.numpy()
    )
    return float(np.sqrt(squared).mean())


def test_the_median_depth_takes_the_first_of_two_surfaces():
    # Two walls of half-transparent Gaussians: 0.6 of the light ends on the first.
    y, z = torch.meshgrid(torch.linspace(-0.3, 0.3, 13), torch.linspace(-0.3, 0.3, 13), indexing="ij")
    wall = torch.stack([y, z, torch.zeros_like(y)], dim=-1).view(-1, 3)
    places = torch.cat([wall + torch.tensor([0.0, 0.0, 0.4]), wall - torch.tensor([0.0, 0.0, 0.4])])
    shape = Gaussians(count=len(places), opacity=0.5)
    shape.positions.data, shape.scales.data[:] = places, torch.tensor(0.03).log()
    scene = Scene(shape, renderer=SplatRenderer())
    front = orbit([0.0], 0.0, 2.5, 20.0, 33, 33)
    median = scene.renderer.median_distance(shape, front)[0, 16, 16, 0]
    mean = scene.render(front).depth[0, 16, 16, 0].detach()
    assert float(median) == pytest.approx(2.1, abs=0.02)
    assert mean.item() > 2.2


def test_clouds_are_fused_unless_their_density_is_asked_for():
    (hop,) = find_route(Gaussians, TetMesh)
    assert hop.converter is GaussiansToSurface
    (hop,) = find_route(Gaussians, TetMesh, ToSurface)
    assert hop.converter is ToSurface
    (hop,) = find_route(HashField, TetMesh)
    assert hop.converter is ToSurface
    (hop,) = find_route(HashField, TetMesh, Tsdf)
    assert hop.converter is Tsdf


def finished(steps) -> Fidelity:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_specks_go_and_pockets_close():
    side = 12
    distance = torch.ones(side, side, side)
    distance[2:9, 2:9, 2:9], distance[5, 5, 5], distance[10, 10, 10] = -1.0, 1.0, -1.0
    tidied = tidy(distance.view(-1), side).view(side, side, side)
    assert tidied[5, 5, 5] == -1
    assert tidied[10, 10, 10] == 1
    assert (tidied < 0).sum() == 7**3


def test_a_field_becomes_a_surface_by_its_depth():
    teacher = Scene(Ball(0.5, 200.0, 0.03), renderer=VolumeRenderer(samples=48))
    shape = TetMesh(resolution=16)
    distance = Tsdf(views=10, size=32).distances(teacher, shape)
    truth = shape.corners.norm(dim=-1) - 0.5
    # Measured: no sign is wrong farther than 1.2 cells away; pixels are half a cell, and light ends inside the ball.
    assert ((distance < 0) == (truth < 0))[truth.abs() > 2 * shape.cell].all()


def test_a_cloud_becomes_a_mesh_that_looks_like_it():
    teacher = sphere_of_splats(4000)
    student = student_scene(teacher, TetMesh(resolution=24))
    converter = GaussiansToSurface(views=12, size=64, color_steps=20, fit=RenderedFit(steps=2, size=32))
    report = finished(converter.convert(teacher, student))
    # Measured: 0.016 and 29.7 dB; the mesh is a closed ball.
    assert report.opacity_error < 0.03
    assert student.shape.mesh().euler_characteristic == 2


def test_a_scene_with_nothing_in_it_is_refused():
    empty = Scene(Ball(0.5, 1e-6, 0.03), renderer=VolumeRenderer(samples=16))
    with pytest.raises(ValueError, match="no ray of 2 views"):
        depth_maps(empty, all_around(2.5, 8, 2))
