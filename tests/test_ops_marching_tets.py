"""Marching tetrahedra against the reference table of card rep 7.3 (T7.1) and finite differences (T7.2)."""

import math

import pytest
import torch
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import grid_points, kuhn_grid, kuhn_tets, marching_tets

LOW, HIGH = -torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)


def ball(points: Tensor, radius: float = 0.7) -> Tensor:
    return points.norm(dim=-1) - radius


def torus(points: Tensor) -> Tensor:
    ring = points[:, :2].norm(dim=-1) - 0.6
    return (ring**2 + points[:, 2] ** 2).sqrt() - 0.25


def surface_area(mesh: Mesh) -> float:
    a, b, c = mesh.corners.unbind(dim=1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2)


def assert_watertight(faces: Tensor) -> None:
    """Every edge belongs to two triangles that run along it in opposite directions."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = int(faces.max()) + 1
    forth, back = (edges @ torch.tensor(order) for order in ([count, 1], [1, count]))
    assert len(forth.unique()) == len(edges)
    assert torch.equal(forth.unique(), back.unique())


BALL = (4 / 3 * math.pi * 0.7**3, 4 * math.pi * 0.7**2)
TORUS = (2 * math.pi**2 * 0.6 * 0.25**2, 4 * math.pi**2 * 0.6 * 0.25)


@pytest.mark.parametrize(
    ("shape", "n", "vertices", "faces", "chi", "volume_error", "area_error"),
    [
        (ball, 16, 1730, 3456, 2, -1.6, -0.8),
        (ball, 32, 7118, 14232, 2, -0.40, -0.20),
        (ball, 48, 15902, 31800, 2, -0.18, -0.09),
        # The card prints an area error of -0.34 here; vertices, faces and volume agree with it, the area does not.
        (torus, 32, 6556, 13112, 0, -1.06, -0.287),
    ],
)
def test_reference_table(shape, n, vertices, faces, chi, volume_error, area_error) -> None:
    """rep T7.1: the table of card rep 7.3."""
    grid = kuhn_grid(n, LOW, HIGH)
    mesh = Mesh(*marching_tets(grid.vertices, shape(grid.vertices), grid.tets))
    exact_volume, exact_area = BALL if shape is ball else TORUS
    assert (len(mesh.vertices), len(mesh.faces), mesh.euler_characteristic) == (vertices, faces, chi)
    assert_watertight(mesh.faces)
    # Percent; the card rounds to one or two digits and asks for 0.05. Worst measured: 0.0235, 0.0156.
    assert abs(100 * (mesh.volume / exact_volume - 1) - volume_error) < 0.05
    assert abs(100 * (surface_area(mesh) / exact_area - 1) - area_error) < 0.05


def test_sparse_tets_give_the_same_surface() -> None:
    """Leaving out the tetrahedra that the surface does not cross changes nothing."""
    points = grid_points(12, LOW, HIGH)
    sdf = torus(points)
    dense, sparse = kuhn_tets(12), kuhn_tets(12, sdf < 0)
    assert len(dense) == 6 * 12**3
    assert len(sparse) < len(dense) / 3
    for whole, part in zip(marching_tets(points, sdf, dense), marching_tets(points, sdf, sparse), strict=True):
        assert torch.equal(whole, part)


def test_kuhn_tets_fill_the_box_with_positive_orientation() -> None:
    grid = kuhn_grid(3, LOW, HIGH)
    corners = grid.vertices[grid.tets]
    volumes = torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
    assert (volumes > 0).all()
    # Float64; measured 4e-15.
    assert abs(float(volumes.sum()) - 8) < 1e-12


def test_random_signs_are_watertight(generator: torch.Generator) -> None:
    """All fourteen cases at once: noise inside a border that is outside."""
    points = grid_points(6, LOW, HIGH)
    sdf = torch.rand(len(points), generator=generator, dtype=torch.float64) - 0.5
    sdf[(points.abs() > 0.99).any(dim=-1)] = 1.0
    vertices, faces = marching_tets(points, sdf, kuhn_tets(6))
    assert_watertight(faces)
    assert Mesh(vertices, faces).volume > 0


def test_vertices_are_differentiable(generator: torch.Generator) -> None:
    """rep T7.2: positions against finite differences, with respect to the distances and the grid."""
    points = grid_points(2, LOW, HIGH)
    sdf = torch.rand(len(points), generator=generator, dtype=torch.float64) + 0.1
    sdf[torch.arange(len(points)) % 3 == 0] *= -1
    tets = kuhn_tets(2, sdf < 0)
    inputs = (points.requires_grad_(), sdf.requires_grad_())
    # Float64; gradcheck's own tolerance of 1e-6, relative and absolute.
    assert torch.autograd.gradcheck(
        lambda p, s: marching_tets(p, s, tets)[0], inputs, atol=1e-6, rtol=1e-6, fast_mode=True
    )


def test_zeros_on_the_grid_stay_finite() -> None:
    """A plane through grid points: exact zeros count as outside, and no vertex leaves the box."""
    points = grid_points(4, LOW, HIGH)
    sdf = points[:, 0].clone().requires_grad_()
    vertices, faces = marching_tets(points, sdf, kuhn_tets(4))
    vertices.sum().backward()
    assert len(faces) > 0
    assert sdf.grad.isfinite().all()
    assert (vertices[:, 0].abs() < 1e-6).all()


def test_no_surface_is_empty_and_wrong_flags_are_refused() -> None:
    points = grid_points(2, LOW, HIGH)
    vertices, faces = marching_tets(points, torch.ones(len(points), dtype=torch.float64), kuhn_tets(2))
    assert vertices.shape == faces.shape == (0, 3)
    with pytest.raises(ValueError, match="27 corners; got 8"):
        kuhn_tets(2, torch.ones(8, dtype=torch.bool))
