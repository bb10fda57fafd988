"""Meshes with a texture: the ball that they start as, the look-up, loading, and what they refuse."""

import math

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import rasterize_chart
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.nearest_point import barycentric, nearest_point
from dreamkit.representations.textured_mesh import TexturedMesh, ball


def test_the_ball_is_closed_and_its_charts_do_not_overlap() -> None:
    mesh = ball(0.5, 12)
    assert mesh.euler_characteristic == 2
    # Measured: -0.75 %, flat triangles inside the ball; outwards, or it would be negative.
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.125, rel=0.02)
    assert torch.allclose(mesh.vertices.norm(dim=-1), torch.tensor(0.5))
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    assert 0 < float(mesh.uv.min()) < float(mesh.uv.max()) < 1
    corners = mesh.uv[mesh.uv_faces]
    a, b = (corners[:, 1] - corners[:, 0]), (corners[:, 2] - corners[:, 0])
    turn = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    # v runs down: counter-clockwise triangles turn negative, so no chart is mirrored.
    assert bool((turn < 0).all())
    covered = float((rasterize_chart(mesh.uv, mesh.uv_faces, 300).triangle >= 0).float().mean())
    # Charts that overlapped would cover less than the sum of their areas. Measured: 0.9216 against 0.9216.
    assert covered == pytest.approx(float(-turn.sum() / 2), abs=0.005)


def test_a_linear_texture_is_read_between_its_texels(generator: torch.Generator) -> None:
    shape = TexturedMesh(texture=32)
    line = (torch.arange(32) + 0.5) / 32
    ramp = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).flip(-1)
    shape.texels.data = torch.cat([ramp, torch.ones(32, 32, 1)], dim=-1)
    face = torch.randint(len(shape.faces), (50,), generator=generator)
    weights = torch.rand(50, 3, generator=generator)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    points = (weights.unsqueeze(-1) * shape.vertices.detach()[shape.faces[face]]).sum(dim=1)
    uv = (weights.unsqueeze(-1) * shape.uv[shape.uv_faces[face]]).sum(dim=1).clamp(0.5 / 32, 1 - 0.5 / 32)
    # Measured: 6e-8 on the face; 2e-7 by place, where the nearest face is found again.
    assert torch.allclose(shape.features_on(points, face, weights)[:, :2], uv, atol=1e-5)
    assert torch.allclose(shape.features(points)[:, :2], uv, atol=1e-4)


def test_barycentric_weights_bring_the_point_back(generator: torch.Generator) -> None:
    mesh = ball(0.5, 4)
    points = torch.randn(100, 3, generator=generator)
    found = nearest_point(mesh, points)
    weights = barycentric(mesh.corners[found.face], found.point)
    again = (weights.unsqueeze(-1) * mesh.corners[found.face]).sum(dim=1)
    # Measured: 9e-8; least weight -4e-8.
    assert torch.allclose(again, found.point, atol=1e-5)
    assert weights.min() > -1e-4
    flat = torch.zeros(1, 3, 3)
    assert barycentric(flat, torch.zeros(1, 3)).tolist() == [[1.0, 0.0, 0.0]]


def test_a_render_reaches_texels_and_corners() -> None:
    scene = Scene(TexturedMesh(texture=32, cells=6), renderer=MeshRenderer())
    scene.render(orbit([20.0], 10.0, height=32, width=32)).color.square().sum().backward()
    shape = scene.shape
    assert isinstance(shape, TexturedMesh)
    for group in shape.parameter_groups():
        (parameter,) = group.parameters
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


def test_a_stored_mesh_brings_its_own_triangles() -> None:
    stored, fresh = TexturedMesh(texture=16, cells=3, seed=1), TexturedMesh(texture=16, cells=7)
    fresh.load_state_dict(stored.state_dict())
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in stored.state_dict().items())
    assert len(fresh.mesh().faces) == 6 * 9 * 2


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="size=2"):
        TexturedMesh(size=2.0)
    shape = TexturedMesh(texture=8)
    with pytest.raises(ValueError, match="texture coordinates"):
        shape.replace_mesh(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), torch.zeros(8, 8, 3))
    with pytest.raises(ValueError, match="3 channels; got 4"):
        shape.replace_mesh(ball(0.5, 2), torch.zeros(8, 8, 4))
    with pytest.raises(ValueError, match="without faces"):
        nearest_point(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.long)), torch.zeros(1, 3))
