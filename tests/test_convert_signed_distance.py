"""Signed distances of meshes, and what comes back from them (card rep 11.6)."""

import pytest
import torch
import trimesh
from torch import Tensor

from dreamkit.convert.signed_distance import nearest_surface, signed_distance
from dreamkit.mesh import Mesh
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.representations.tet_mesh import TetMesh


def solid(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices).float(), torch.tensor(shape.faces))


BOX = solid(trimesh.creation.box((1.0, 1.0, 1.0)))


def box_distance(points: Tensor) -> Tensor:
    outside = points.abs() - 0.5
    return outside.clamp_min(0).norm(dim=-1) + outside.amax(dim=-1).clamp_max(0)


def test_distances_of_a_box_are_exact(generator: torch.Generator) -> None:
    points = torch.rand(500, 3, generator=generator) * 2 - 1
    # Float32 positions; measured 6.0e-8.
    assert torch.allclose(signed_distance(BOX, points), box_distance(points), atol=1e-6)
    found = nearest_surface(BOX, points)
    assert torch.allclose((found.point - points).norm(dim=-1), found.distance.abs(), atol=1e-6)
    assert found.point.abs().amax(dim=-1).sub(0.5).abs().max() < 1e-6


def test_faces_that_look_inwards_are_turned(generator: torch.Generator) -> None:
    """Card 11.5: a flipped mesh must not come in inside out."""
    points = torch.rand(200, 3, generator=generator) * 2 - 1
    flipped = Mesh(BOX.vertices, BOX.faces.flip(1))
    assert torch.equal(signed_distance(BOX, points), signed_distance(flipped, points))


@pytest.mark.parametrize(
    ("shape", "chi"),
    [
        (trimesh.creation.box((1.0, 0.8, 1.2)), 2),
        (trimesh.creation.icosphere(4, 0.7), 2),
        (trimesh.creation.torus(0.6, 0.25, 96, 48), 0),
    ],
    ids=["cube", "sphere", "torus"],
)
def test_t11_2_mesh_to_distance_to_mesh_keeps_topology_and_volume(shape: trimesh.Trimesh, chi: int) -> None:
    mesh = solid(shape)
    grid = TetMesh(resolution=64, levels=HashLevels(levels=2, log2_table_size=8))
    grid.assign(signed_distance(mesh, grid.corners))
    back = grid.mesh()
    back = Mesh(back.vertices.detach(), back.faces)
    assert back.euler_characteristic == chi
    # The card asks for 1 %. Worst measured: -0.30 % (torus).
    assert back.volume == pytest.approx(mesh.volume, rel=0.01)


def test_t11_3_an_open_hemisphere_is_closed() -> None:
    ball = trimesh.creation.icosphere(4, 0.7)
    open_half = ball.submesh([ball.triangles_center[:, 1] > 0], append=True)
    grid = TetMesh(resolution=32, levels=HashLevels(levels=2, log2_table_size=8))
    distance = signed_distance(solid(open_half), grid.corners)
    assert distance.isfinite().all()
    grid.assign(distance)
    back = grid.mesh()
    back = Mesh(back.vertices.detach(), back.faces)
    assert back.euler_characteristic == 2
    # Half a ball is 0.718; the lid of a winding number of 1/2 bulges: measured 0.80.
    assert 0.65 < back.volume < 0.9


def test_meshes_without_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="without faces"):
        signed_distance(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)), torch.zeros(1, 3))
