"""Files of other tools as shapes: their colours, their places, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamkit.export.gltf import write_glb
from dreamkit.export.import_shape import import_shape
from dreamkit.export.splat_file import SplatFile
from dreamkit.export.splat_ply import write_splat_ply
from dreamkit.mesh import Mesh
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh, ball


def test_a_texture_comes_with_its_colours(tmp_path: Path) -> None:
    rows = torch.linspace(0.2, 0.8, 16)[:, None, None].expand(16, 16, 3)
    mesh = replace(ball(3.0, 6), texture=rows.contiguous())
    write_glb(mesh, tmp_path / "ball.glb")
    shape = import_shape(tmp_path / "ball.glb", radius=0.8)
    assert isinstance(shape, TexturedMesh)
    assert float(shape.vertices.norm(dim=-1).max()) == pytest.approx(0.8, abs=1e-4)
    # Measured: 2e-3, half a step of eight bits.
    assert torch.allclose(torch.sigmoid(shape.texels), rows, atol=3e-3)


def test_vertex_colours_are_painted_on_a_new_texture(tmp_path: Path) -> None:
    bare = ball(1.0, 6)
    mesh = Mesh(bare.vertices, bare.faces, vertex_color=(bare.vertices + 1) / 2)
    write_glb(mesh, tmp_path / "ball.glb")
    shape = import_shape(tmp_path / "ball.glb", radius=1.0, texture=128)
    assert isinstance(shape, TexturedMesh)
    places = shape.vertices.detach()[shape.faces].mean(dim=1)
    seen = torch.sigmoid(shape.features(places))
    assert (seen - (places + 1) / 2).abs().max() < 0.03


def test_a_mesh_without_colours_is_grey(tmp_path: Path) -> None:
    bare = ball(1.0, 3)
    write_glb(Mesh(bare.vertices, bare.faces), tmp_path / "ball.glb")
    shape = import_shape(tmp_path / "ball.glb", texture=32)
    assert isinstance(shape, TexturedMesh)
    assert torch.allclose(torch.sigmoid(shape.texels), torch.tensor(0.7), atol=0.01)


def test_splats_are_placed_as_a_whole(tmp_path: Path, generator: torch.Generator) -> None:
    positions = torch.randn(20, 3, generator=generator) * 5 + 10
    turns = torch.nn.functional.normalize(torch.randn(20, 4, generator=generator), dim=-1)
    file = SplatFile(positions, torch.zeros(20, 3), turns, torch.zeros(20), torch.zeros(20, 1, 3))
    write_splat_ply(file, tmp_path / "cloud.ply")
    shape = import_shape(tmp_path / "cloud.ply", radius=0.8)
    assert isinstance(shape, Gaussians)
    assert float(shape.positions.norm(dim=-1).max()) == pytest.approx(0.8, abs=1e-4)
    # Sizes shrink with the distances.
    before, after = torch.pdist(positions).max(), torch.pdist(shape.positions.detach()).max()
    assert torch.allclose(shape.deviations, after / before, rtol=1e-4)
    still = replace(file, positions=torch.zeros(20, 3))
    write_splat_ply(still, tmp_path / "still.ply")
    with pytest.raises(ValueError, match="one place"):
        import_shape(tmp_path / "still.ply")
