"""The rasteriser against rays, projections and counting (rep T7.5)."""

import pytest
import torch
import triangle_soups
from triangle_soups import turn

from dreamkit.cameras import Cameras, look_at, orbit
from dreamkit.mesh import Mesh
from dreamkit.ops import rasterize
from dreamkit.ops.rasterize import interpolate, rasterize_chart, rasterize_reference


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return triangle_soups.ball()


def pair() -> Cameras:
    return turn([0.0, 130.0], 20.0, 2.5, 48, 48)


def test_interpolated_positions_lie_on_the_pixels_rays(ball: Mesh) -> None:
    """Perspective-correct barycentrics: the surface point of a pixel is on its ray, at the depth that is reported."""
    cameras = pair()
    fragments = rasterize_reference(ball.vertices, ball.faces, cameras)
    points = interpolate(ball.vertices, ball.faces, fragments)
    rays = cameras.rays()
    offset = points - rays.origins
    along = (offset * rays.directions).sum(dim=-1, keepdim=True)
    seen = fragments.triangle >= 0
    assert seen.any()
    # Float64; measured 1.1e-15 for both.
    assert (offset - along * rays.directions)[seen].norm(dim=-1).max() < 1e-14
    forward = -cameras.pose[:, None, None, :3, 2]
    assert ((offset * forward).sum(dim=-1, keepdim=True) - fragments.depth)[seen].abs().max() < 1e-14


def test_depth_of_a_ball_is_that_of_the_ray(ball: Mesh) -> None:
    """The nearest of both crossings: distance of the surface point from the centre is the radius, on the near side."""
    cameras = pair()
    fragments = rasterize_reference(ball.vertices, ball.faces, cameras)
    points = interpolate(ball.vertices, ball.faces, fragments)[fragments.triangle >= 0]
    # The polyhedron's faces cut into the sphere: measured 0.0078 at 16 cells.
    assert ((points.norm(dim=-1) - 0.7).abs() < 0.012).all()
    towards = cameras.rays().directions[fragments.triangle >= 0]
    # At grazing rays this product passes zero, by what the facets cut; measured 0.0059.
    assert ((points * towards).sum(dim=-1) < 0.03).all()


def test_two_triangles_cover_every_pixel_of_their_square_once() -> None:
    """rep T7.5: no gap and no double cover along the shared diagonal, at many positions."""
    vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    cameras = turn([-30.0, -17.0, 0.0, 9.0, 30.0], 10.0, 4.0, 37, 41)
    both = rasterize_reference(vertices, faces, cameras).mask
    first = rasterize_reference(vertices, faces[:1], cameras).mask
    second = rasterize_reference(vertices, faces[1:], cameras).mask
    rays = cameras.rays()
    hit = rays.origins - rays.origins[..., 2:] / rays.directions[..., 2:] * rays.directions
    inside = (hit[..., :2].abs() <= 1).all(dim=-1, keepdim=True).double()
    assert torch.equal(both, inside)
    assert torch.equal(torch.maximum(first, second), both)
    # Pixels whose middle lies on the diagonal belong to both; nothing else may. Measured: none.
    on_diagonal = (hit[..., :1] - hit[..., 1:2]).abs() < 1e-9
    assert not ((first * second > 0) & ~on_diagonal).any()


def test_culling_does_not_change_a_closed_solid(ball: Mesh) -> None:
    cameras = pair()
    whole, culled = (rasterize_reference(ball.vertices, ball.faces, cameras, cull=cull) for cull in (False, True))
    assert torch.equal(whole.triangle, culled.triangle)
    assert torch.equal(whole.barycentric, culled.barycentric)


def test_result_does_not_depend_on_the_size_of_the_parts(ball: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = pair()
    whole = rasterize_reference(ball.vertices, ball.faces, cameras)
    monkeypatch.setattr(rasterize, "PART", 100)
    parts = rasterize_reference(ball.vertices, ball.faces, cameras)
    assert torch.equal(whole.triangle, parts.triangle)
    assert torch.equal(whole.barycentric, parts.barycentric)


def test_nearer_triangle_wins_whatever_its_index() -> None:
    near = torch.tensor([[-1.0, -1, 0.5], [1, -1, 0.5], [0, 1, 0.5]])
    vertices = torch.cat([near, near * torch.tensor([1, 1, -1.0])])
    cameras = orbit([0.0], height=9, width=9)
    for faces, nearest in (([[0, 1, 2], [3, 4, 5]], 0), ([[3, 4, 5], [0, 1, 2]], 1)):
        fragments = rasterize_reference(vertices, torch.tensor(faces), cameras)
        assert fragments.triangle[0, 4, 4] == nearest


def test_nothing_in_sight_is_empty_not_an_error() -> None:
    behind = look_at(torch.tensor([[0.0, 0, 3]]), torch.tensor([[0.0, 0, 6]]), torch.tensor([[0.0, 1, 0]]))
    cameras = orbit([0.0], height=8, width=8)
    away = type(cameras)(behind, cameras.fov, 8, 8)
    for faces in (torch.tensor([[0, 1, 2]]), torch.zeros(0, 3, dtype=torch.long)):
        fragments = rasterize_reference(torch.eye(3), faces, away)
        assert (fragments.triangle == -1).all()
        assert not interpolate(torch.ones(3, 1), faces, fragments).any()


def test_chart_covers_half_of_the_texture() -> None:
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    fragments = rasterize_chart(uv, torch.tensor([[0, 1, 2]]), 16)
    # The diagonal's texel middles count as inside: 16 * 17 / 2.
    assert int(fragments.mask.sum()) == 136
    found = interpolate(uv, torch.tensor([[0, 1, 2]]), fragments)[0]
    # Row 3, column 5 has its middle at u = 5.5 / 16, v = 3.5 / 16. Measured 0.
    assert torch.allclose(found[3, 5], torch.tensor([5.5, 3.5]) / 16, atol=1e-7, rtol=0)
