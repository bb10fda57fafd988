"""Normals to heights, remeshing, and normal maps of known solids back to those solids (card rep 10.8)."""

import math

import pytest
import torch
import trimesh

from dreamkit.cameras import orbit
from dreamkit.convert.fuse_normals import FuseNormals, NormalViews, vertex_targets, visual_hull
from dreamkit.convert.integrate_normals import integrate_normals
from dreamkit.convert.remesh import RemeshingOptimizer
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import interpolate, rasterize
from dreamkit.vectors import normalize


def solid(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices).float(), torch.tensor(shape.faces))


def ball(radius: float = 0.6) -> Mesh:
    return solid(trimesh.creation.icosphere(4, radius))


def photographed(mesh: Mesh, size: int = 48) -> NormalViews:
    cameras = orbit(
        [0.0, 90.0, 180.0, 270.0, 45.0, 225.0], torch.tensor([0.0] * 4 + [80.0, -80.0]), 2.5, 40.0, size, size
    )
    fragments = rasterize(mesh.vertices, mesh.faces, cameras)
    return NormalViews(normalize(interpolate(mesh.vertex_normals, mesh.faces, fragments)), fragments.mask, cameras)


def test_t10_2_a_spherical_cap_comes_back_from_its_normals() -> None:
    size, radius = 192, 0.7
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    x, y = axis[None, :].expand(size, size), -axis[:, None].expand(size, size)
    height = (radius**2 - x**2 - y**2).clamp_min(0).sqrt()
    normals = torch.stack([x, y, height], dim=-1) / radius
    mask = height / radius >= 0.24
    found = integrate_normals(normals, mask, 2 / size)
    error = (found - height)[mask]
    # The card's bound; it measured 1.2e-4.
    assert float((error - error.mean()).square().mean().sqrt()) < 5e-4
    assert abs(float(found[mask].mean())) < 1e-9
    with pytest.raises(ValueError, match="mask is empty"):
        integrate_normals(normals, torch.zeros_like(mask), 1.0)


def test_t10_5_a_push_along_the_normals_grows_a_ball_and_keeps_its_middle() -> None:
    optimizer = RemeshingOptimizer(ball(), limits=(0.1, 0.1))
    radii = [0.6]
    for _ in range(6):
        mesh = optimizer.mesh
        (0.05 * ((mesh.vertices + mesh.vertex_normals).detach() - mesh.vertices).square().sum(dim=-1).mean()).backward()
        optimizer.step()
        radii.append(float(optimizer.vertices.detach().norm(dim=-1).mean()))
    assert radii == sorted(radii)
    assert radii[-1] > 0.62
    area = optimizer.vertices.detach()
    assert (area.amax(dim=0) + area.amin(dim=0)).abs().max() < 0.02


def test_t10_3_remeshing_keeps_a_closed_surface_with_even_edges() -> None:
    optimizer = RemeshingOptimizer(ball(), limits=(0.12, 0.12), every=1)
    optimizer.vertices.square().sum().mul(0).backward()
    optimizer.step()
    mesh = Mesh(optimizer.vertices.detach(), optimizer.faces)
    assert mesh.euler_characteristic == 2
    # 4/3 pi 0.6^3 = 0.9048, less what triangles of 0.12 cut off. Remeshing changes the volume by less than 2 %.
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.216, rel=0.02)
    a, b = mesh.faces, mesh.faces.roll(-1, dims=1)
    edges = (mesh.vertices[a] - mesh.vertices[b]).norm(dim=-1)
    assert ((edges < 0.06) | (edges > 0.18)).float().mean() < 0.05


def test_the_hull_holds_the_solid_and_targets_are_its_normals() -> None:
    views = photographed(ball())
    hull = visual_hull(views, 1.0, 32)
    # The ball's is 0.905; corners of a grid of 32^3 that are inside all masks: measured 0.838.
    assert 0.8 < hull.volume < 1.0
    mesh = ball()
    close = (vertex_targets(mesh, views) * mesh.vertex_normals).sum(dim=-1)
    # Measured: 0.9997.
    assert close.mean() > 0.99
    with pytest.raises(ValueError, match="no point"):
        visual_hull(NormalViews(views.normals, 0 * views.mask, views.cameras), 1.0, 8)


@pytest.mark.slow
def test_t10_1_a_ball_comes_back_from_six_views() -> None:
    truth = ball()
    steps = FuseNormals(steps=40, explicit=10, grid=32).run(photographed(truth))
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            mesh = stop.value
            break
    assert mesh.euler_characteristic == 2
    # The card asks for 1 % of the box (0.012). Measured: 0.0054.
    assert (mesh.vertices.norm(dim=-1) - 0.6).abs().mean() < 0.012
