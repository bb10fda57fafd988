"""Tangents: closed forms, and the reference implementation of MikkTSpace."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from node import node_folder

from dreamkit.convert.unwrap import unwrap
from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import grid_points, kuhn_tets, marching_tets
from dreamkit.ops.tangents import corner_tangents, tangent_frame
from dreamkit.vectors import dot


def torus() -> Mesh:
    # Radii that pass through no corner of the grid: none of the triangles is a sliver.
    points = grid_points(10, -torch.ones(3), torch.ones(3))
    sdf = ((points[:, [0, 2]].norm(dim=-1) - 0.553) ** 2 + points[:, 1] ** 2).sqrt() - 0.2467
    return unwrap(Mesh(*marching_tets(points, sdf, kuhn_tets(10, sdf < 0))), 64)


def square(uv: list[list[float]]) -> Mesh:
    """Two triangles that face +Z."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Mesh(vertices, faces, torch.tensor(uv).float(), faces)


def test_a_picture_on_a_wall_has_its_axes():
    """u to the right, the texture's top at the top (v counts downwards): t = +X, b = +Y, w = +1."""
    tangent = corner_tangents(square([[0, 1], [1, 1], [1, 0], [0, 0]]))
    assert torch.allclose(tangent, torch.tensor([1.0, 0, 0, 1]).expand(2, 3, 4), atol=1e-6)
    frame = tangent_frame(torch.tensor([[0.0, 0, 1]]), tangent[0, :1])
    assert torch.allclose(frame[0], torch.eye(3), atol=1e-6)


def test_a_mirrored_picture_has_the_other_sign():
    tangent = corner_tangents(square([[1, 1], [0, 1], [0, 0], [1, 0]]))
    assert torch.allclose(tangent, torch.tensor([-1.0, 0, 0, -1]).expand(2, 3, 4), atol=1e-6)
    frame = tangent_frame(torch.tensor([[0.0, 0, 1]]), tangent[0, :1])
    assert torch.allclose(frame[0, 1], torch.tensor([0.0, 1, 0]), atol=1e-6)


def test_charts_without_extent_get_some_direction_in_the_plane():
    tangent = corner_tangents(square([[0.5, 0.5]] * 4))
    assert (tangent[..., :3].norm(dim=-1) - 1).abs().max() < 1e-6
    assert tangent[..., 2].abs().max() < 1e-6


def test_tangents_are_unit_and_flat():
    mesh = torus()
    tangent, normal = corner_tangents(mesh)[..., :3], mesh.vertex_normals[mesh.faces]
    # Worst measured 3e-7 and 2e-7.
    assert (tangent.norm(dim=-1) - 1).abs().max() < 1e-5
    assert dot(tangent, normal).abs().max() < 1e-5


def test_frames_without_coordinates_are_refused():
    with pytest.raises(ValueError, match="unwrap"):
        corner_tangents(Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])))


def reference(mesh: Mesh) -> torch.Tensor:
    folder = node_folder("three")
    corners = {
        "position": mesh.corners,
        "normal": mesh.vertex_normals[mesh.faces],
        "texcoord": mesh.uv[mesh.uv_faces] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0]),
    }
    given = json.dumps({name: values.reshape(-1).tolist() for name, values in corners.items()})
    script = str(Path(__file__).with_name("mikktspace.mjs"))
    ran = subprocess.run(["node", script, str(folder)], input=given, capture_output=True, text=True, check=True)
    return torch.tensor(json.loads(ran.stdout)).view(-1, 3, 4)


@pytest.mark.parametrize("mirrored", [False, True])
def test_tangents_are_those_of_mikktspace(mirrored):
    mesh = torus()
    if mirrored:
        # Every second chart lies on its face: faces in the right half of the atlas are mirrored about its middle.
        right = mesh.uv[mesh.uv_faces].amin(dim=1)[:, 0] > 0.5
        uv = torch.cat([mesh.uv, mesh.uv * torch.tensor([-1.0, 1.0]) + torch.tensor([1.5, 0.0])])
        mesh = replace(mesh, uv=uv, uv_faces=mesh.uv_faces + right[:, None] * len(mesh.uv))
    ours, theirs = corner_tangents(mesh), reference(mesh)
    assert torch.equal(ours[..., 3], theirs[..., 3])
    # Worst measured 6.4e-5; both sides work in float32.
    assert (ours - theirs).norm(dim=-1).max() < 5e-4
