"""Mesh energies against closed forms, and their edges."""

import math

import pytest
import torch
import trimesh

from dreamkit.mesh import Mesh, find_edges
from dreamkit.representations import mesh_energies as energies


def solid(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices), torch.tensor(shape.faces))


def ball(radius: float = 1.0, level: int = 3) -> Mesh:
    return solid(trimesh.creation.icosphere(level, radius))


def plane(bend: float = 0.0) -> Mesh:
    x, y = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="xy")
    vertices = torch.stack([x, y, bend * x.square()], dim=-1).view(-1, 3)
    corner = (torch.arange(3)[:, None] * 4 + torch.arange(3)).flatten()
    lower = torch.stack([corner, corner + 1, corner + 4], dim=-1)
    upper = torch.stack([corner + 1, corner + 5, corner + 4], dim=-1)
    return Mesh(vertices, torch.cat([lower, upper]))


def test_edges_and_pairs_of_a_tetrahedron() -> None:
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    edges = find_edges(faces)
    assert edges.ends.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert edges.faces.tolist() == [[0, 1], [0, 3], [1, 3], [0, 2], [1, 2], [2, 3]]
    assert edges.count.tolist() == [2] * 6
    alone = find_edges(faces[:1])
    assert (alone.faces.tolist(), alone.count.tolist()) == ([[0, 0]] * 3, [1] * 3)
    assert find_edges(faces[:0]).ends.shape == (0, 2)


@pytest.mark.parametrize("name", ["normal_consistency", "face_consistency"])
def test_t14_7_consistency_is_zero_for_a_plane_and_grows_with_the_bend(name: str) -> None:
    values = [getattr(energies, name)(plane(bend)).item() for bend in (0.0, 0.1, 0.3)]
    assert values[0] == pytest.approx(0, abs=1e-7)
    assert values[0] < values[1] < values[2]


def test_faces_of_a_cube_meet_at_right_angles() -> None:
    """12 of its 18 shared edges are creases, each worth (1 - 0) / 2."""
    assert energies.face_consistency(solid(trimesh.creation.box())).item() == pytest.approx(12 / 18 / 2)


def test_laplacian_of_a_triangle_by_hand() -> None:
    """Each corner of an equilateral triangle of side 1 is sqrt(3)/2 from the middle of the opposite side."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]], dtype=torch.float64)
    assert energies.laplacian(Mesh(corners, torch.tensor([[0, 1, 2]]))).item() == pytest.approx(0.75)


@pytest.mark.parametrize("radius", [0.2, 1.0, 5.0])
def test_bending_of_a_ball_is_4_pi_whatever_its_size(radius: float) -> None:
    # Measured with 642 vertices: 1.0021 of 4 pi, at each radius.
    assert energies.bending(ball(radius)).item() == pytest.approx(4 * math.pi, rel=5e-3)


def test_bending_of_a_bumpy_ball_is_more(generator: torch.Generator) -> None:
    smooth = ball()
    bumpy = smooth.vertices * (1 + 0.02 * torch.randn(len(smooth.vertices), 1, generator=generator))
    assert energies.bending(Mesh(bumpy, smooth.faces)) > 2 * energies.bending(smooth)


def test_edge_length_of_a_regular_tetrahedron() -> None:
    vertices = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    assert energies.edge_length(Mesh(vertices, faces)).item() == pytest.approx(8.0)


def test_sign_change_is_2_log_2_at_the_surface_and_pulls_both_ends_over() -> None:
    assert energies.sign_change(torch.tensor([[-1e-7, 1e-7]])).item() == pytest.approx(2 * math.log(2))
    pairs = torch.tensor([[-0.5, 0.25]], requires_grad=True)
    energies.sign_change(pairs).backward()
    # d/ds BCE(sigmoid(s), y) = sigmoid(s) - y: each end is pulled to the other's sign.
    expected = torch.sigmoid(pairs.detach()) - torch.tensor([[1.0, 0.0]])
    assert torch.allclose(pairs.grad, expected)


@pytest.mark.parametrize("name", ["normal_consistency", "face_consistency", "laplacian", "bending", "edge_length"])
def test_gradients_match_finite_differences(name: str, generator: torch.Generator) -> None:
    smooth = ball(level=1)
    moved = smooth.vertices + 0.05 * torch.randn(smooth.vertices.shape, generator=generator, dtype=torch.float64)
    # Float64; gradcheck's own tolerance of 1e-6, relative and absolute.
    assert torch.autograd.gradcheck(
        lambda v: getattr(energies, name)(Mesh(v, smooth.faces)), moved.requires_grad_(), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["normal_consistency", "face_consistency", "laplacian", "bending", "edge_length"])
def test_t14_8_gradients_are_finite_for_folded_and_empty_meshes(name: str) -> None:
    vertices = torch.zeros(4, 3, requires_grad=True)
    folded = Mesh(vertices, torch.tensor([[0, 1, 2], [1, 0, 3]]))
    getattr(energies, name)(folded).backward()
    assert vertices.grad.isfinite().all()
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    assert getattr(energies, name)(empty) == 0
