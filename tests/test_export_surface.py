"""From a field to triangles: level search, extraction, cleaning, charts."""

import math

import pytest
import torch
from volumes import ball, photograph, torus, waves

from dreamkit.cameras import orbit
from dreamkit.convert.clean import clean_surface
from dreamkit.convert.isosurface import EmptySurface, density_normals, extract_surface, sample_density, surface_at
from dreamkit.convert.level import find_level, silhouette_agreement
from dreamkit.convert.unwrap import unwrap
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import rasterize_chart

BALL = 4 / 3 * math.pi * 0.6**3
BOX = (-torch.ones(3), torch.ones(3))
GREY = torch.full((3,), 0.6)


def test_surface_lies_on_the_level() -> None:
    """At half the peak the ball's radius is exactly 0.6: position, volume, orientation, topology."""
    mesh = extract_surface(ball(), level=50.0, coarse=24, fine=48)
    # Half a cell of 0.033, halved six times, and the direction of the normal; measured 3e-4.
    assert (mesh.vertices.norm(dim=-1) - 0.6).abs().max() < 2e-3
    # Measured 0.16 % less: a polyhedron lies inside its ball.
    assert mesh.volume == pytest.approx(BALL, rel=0.01)
    assert mesh.euler_characteristic == 2


def test_torus_keeps_its_hole() -> None:
    assert extract_surface(torus(), level=50.0, coarse=24, fine=40).euler_characteristic == 0


def test_surface_is_closed_where_the_density_reaches_the_box() -> None:
    grid = sample_density(lambda points: torch.full_like(points[:, 0], 9.0), *BOX, cells=4)
    mesh = surface_at(grid, 1.0)
    assert mesh.euler_characteristic == 2
    assert mesh.volume > 8


def test_cells_are_cubes_and_chunks_do_not_show() -> None:
    grid = sample_density(ball(), torch.tensor([-1.0, -0.5, -1.0]), torch.tensor([1.0, 0.5, 0.0]), 16)
    assert tuple(grid.values.shape) == (17, 9, 9)
    assert grid.cell == pytest.approx(0.125)
    # Corner (4, 5, 6) is at low + 0.125 (4, 5, 6).
    assert grid.values[4, 5, 6] == ball()(torch.tensor([[-0.5, 0.125, -0.25]]))


@pytest.mark.parametrize(("values", "level"), [(0.0, 5.0), (3.0, 5.0)])
def test_empty_surface_says_what_was_met_and_what_to_try(values: float, level: float) -> None:
    with pytest.raises(EmptySurface, match=rf"level {level:.4g}: the largest value met is {values:.4g}\. Try"):
        extract_surface(lambda points: torch.full_like(points[:, 0], values), level=level, coarse=8, fine=8)


def test_search_in_nothing_is_an_empty_surface() -> None:
    grid = sample_density(lambda points: torch.zeros_like(points[:, 0]), *BOX, cells=8)
    cameras = orbit([0.0, 90.0], height=8, width=8)
    views = photograph(lambda points: torch.zeros_like(points[:, 0]), waves, cameras, GREY, samples=4)
    with pytest.raises(EmptySurface, match="nowhere positive"):
        find_level(grid, views, cameras)
    with pytest.raises(ValueError, match="got 2 and 1"):
        find_level(grid, views, cameras[[0]])
    with pytest.raises(ValueError, match="must be positive"):
        surface_at(grid, 0.0)


def test_level_search_beats_fixed_levels() -> None:
    """A fuzzy torus: no level on a fine ladder agrees noticeably better than the one found."""
    density = torus(0.05, 20.0)
    cameras = orbit([90.0 * i for i in range(4)], 15.0, height=32, width=32)
    views = photograph(density, waves, cameras, GREY, samples=48)
    grid = sample_density(density, *BOX, cells=32)
    found = find_level(grid, views, cameras)
    ladder = [0.3 * 1.25**i for i in range(18)]
    best = max(silhouette_agreement(surface_at(grid, level), views, cameras) for level in ladder)
    # Measured 0.8379, and 0.8381 for the best of the ladder.
    assert found.agreement > best - 0.002
    assert found.agreement == silhouette_agreement(surface_at(grid, found.density), views, cameras)


def test_density_normals_of_a_ball_are_radial(generator: torch.Generator) -> None:
    points = 0.6 * torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=-1)
    # Central differences err by (step / width)^2 / 12 of the direction; measured 2e-4.
    assert torch.allclose(density_normals(ball(width=0.05), points), points / 0.6, atol=1e-3)


def two_balls() -> Mesh:
    """A ball and a crumb."""
    large = extract_surface(ball(), level=50.0, coarse=16, fine=40)
    crumb = Mesh(large.vertices * 0.05 + 0.9, large.faces)
    few = torch.arange(40)
    faces = torch.cat([large.faces, crumb.faces[few] + len(large.vertices)])
    return Mesh(torch.cat([large.vertices, crumb.vertices]), faces)


def test_cleaning_drops_crumbs_decimates_and_keeps_the_shape() -> None:
    mesh = two_balls()
    cleaned = clean_surface(mesh, faces=1500)
    assert len(cleaned.faces) <= 1500
    assert cleaned.vertices.abs().max() < 0.62
    assert cleaned.euler_characteristic == 2
    # A polyhedron with 1500 faces lies inside its ball; measured 0.4 % less.
    assert cleaned.volume == pytest.approx(BALL, rel=0.015)


def test_cleaning_closes_a_hole() -> None:
    whole = extract_surface(ball(), level=50.0, coarse=16, fine=16)
    holed = Mesh(whole.vertices, whole.faces[3:])
    assert holed.euler_characteristic < 2
    assert clean_surface(holed, faces=None, smoothing=0).euler_characteristic == 2


def test_cleaning_repeats() -> None:
    mesh = two_balls()
    first, second = clean_surface(mesh, faces=800), clean_surface(mesh, faces=800)
    assert torch.equal(first.vertices, second.vertices)
    assert torch.equal(first.faces, second.faces)


def test_charts_do_not_overlap_and_keep_the_surface() -> None:
    mesh = clean_surface(extract_surface(torus(), level=50.0, coarse=16, fine=32), faces=1000)
    charted = unwrap(mesh, 256)
    assert torch.equal(charted.corners, mesh.corners)
    assert charted.uv.min() >= 0
    assert charted.uv.max() <= 1
    a, b, c = charted.uv[charted.uv_faces].unbind(dim=1)
    p, q = b - a, c - a
    area = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).abs().sum() / 2
    covered = rasterize_chart(charted.uv, charted.uv_faces, 1024).mask.mean()
    # Overlapping charts would cover less than the sum of their areas. Borders cancel on average; measured 7e-5.
    assert covered == pytest.approx(float(area), abs=7e-4)
    # 4 texels of padding cost much of a 256 atlas. Measured 0.284.
    assert area > 0.2
    with pytest.raises(ValueError, match="empty"):
        unwrap(Mesh(mesh.vertices, mesh.faces[:0]))
