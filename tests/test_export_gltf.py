"""GLB files: the format's own validator, an independent reader, and bytes that repeat (rep T8.1, T8.2, T8.4)."""

import json
import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from node import node_folder

from dreamkit.convert.unwrap import unwrap
from dreamkit.export.gltf import write_glb
from dreamkit.export.load import load_mesh
from dreamkit.export.obj import write_obj
from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import grid_points, kuhn_tets, marching_tets


@pytest.fixture(scope="module")
def textured() -> Mesh:
    """A torus with an atlas and random texels: nothing about it is symmetric by chance."""
    points = grid_points(12, -torch.ones(3), torch.ones(3))
    ring = points[:, [0, 2]].norm(dim=-1) - 0.55
    sdf = (ring**2 + points[:, 1] ** 2).sqrt() - 0.25
    mesh = unwrap(Mesh(*marching_tets(points, sdf, kuhn_tets(12, sdf < 0))), 64)
    noise = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    return replace(mesh, texture=noise / 255, roughness=0.25)


def document(path: Path) -> dict:
    content = path.read_bytes()
    return json.loads(content[20 : 20 + struct.unpack_from("<I", content, 12)[0]])


def validate(path: Path) -> dict:
    """The Khronos validator's report; skips where node or its package is missing."""
    folder = node_folder("gltf-validator")
    script = Path(__file__).with_name("validate_gltf.js")
    environment = os.environ | {"NODE_PATH": str(folder)}
    ran = subprocess.run(["node", str(script), str(path)], capture_output=True, text=True, env=environment, check=True)
    return json.loads(ran.stdout)["issues"]


@pytest.mark.parametrize("kind", ["textured", "colored", "plain", "lit"])
def test_khronos_validator_finds_nothing(kind: str, textured: Mesh, tmp_path: Path) -> None:
    """rep T8.1: 0 errors and 0 warnings."""
    bare = Mesh(textured.vertices, textured.faces)
    mesh = {
        "textured": textured,
        "colored": replace(bare, vertex_color=textured.vertices.abs()),
        "plain": bare,
        "lit": replace(textured, unlit=False, metallic=0.5),
    }[kind]
    write_glb(mesh, tmp_path / "a.glb")
    issues = validate(tmp_path / "a.glb")
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_round_trip_returns_the_same_bits(textured: Mesh, tmp_path: Path) -> None:
    """rep T8.2: positions, coordinates, texels and triangles through the file and trimesh."""
    write_glb(textured, tmp_path / "a.glb")
    loaded = load_mesh(tmp_path / "a.glb")
    assert torch.equal(loaded.corners, textured.corners)
    assert torch.equal(loaded.texture, textured.texture)
    # v is flipped twice on the way through trimesh: one rounding; measured 3.0e-8.
    assert torch.allclose(loaded.uv[loaded.uv_faces], textured.uv[textured.uv_faces], atol=1e-7, rtol=0)
    assert (loaded.unlit, loaded.roughness, loaded.metallic) == (True, 0.25, 0.0)
    assert loaded.euler_characteristic == 0


def test_stored_numbers_are_bit_equal(textured: Mesh, tmp_path: Path) -> None:
    """rep T8.2 on the bytes themselves: the accessors hold the float32 positions, coordinates and corners."""
    write_glb(textured, tmp_path / "a.glb")
    content, described = (tmp_path / "a.glb").read_bytes(), document(tmp_path / "a.glb")
    start = 28 + struct.unpack_from("<I", content, 12)[0]
    primitive = described["meshes"][0]["primitives"][0]

    def read(index: int, kind: torch.dtype, width: int) -> torch.Tensor:
        view = described["bufferViews"][described["accessors"][index]["bufferView"]]
        offset = start + view["byteOffset"]
        return torch.frombuffer(bytearray(content[offset : offset + view["byteLength"]]), dtype=kind).view(-1, width)

    faces = read(primitive["indices"], torch.int32, 3).long()
    assert torch.equal(read(primitive["attributes"]["POSITION"], torch.float32, 3)[faces], textured.corners)
    uv = read(primitive["attributes"]["TEXCOORD_0"], torch.float32, 2)
    assert torch.equal(uv[faces], textured.uv[textured.uv_faces])


def test_document_states_what_viewers_need(textured: Mesh, tmp_path: Path) -> None:
    write_glb(textured, tmp_path / "a.glb", name="mug")
    described = document(tmp_path / "a.glb")
    material = described["materials"][0]
    assert described["asset"]["generator"].startswith("dreamkit ")
    assert described["extensionsUsed"] == ["KHR_materials_unlit"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 0.25
    assert described["meshes"][0]["name"] == "mug"
    position = described["accessors"][described["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert position["min"] == textured.vertices.amin(dim=0).tolist()
    write_glb(replace(textured, unlit=False), tmp_path / "b.glb")
    assert "extensionsUsed" not in document(tmp_path / "b.glb")


def test_t8_5_roughness_and_metalness_keep_their_channels(textured: Mesh, tmp_path: Path) -> None:
    """rep T8.5 without a map: 0.25 and 0.75 are stored as factors, and another reader does not swap them."""
    write_glb(replace(textured, unlit=False, roughness=0.25, metallic=0.75), tmp_path / "a.glb")
    surface = document(tmp_path / "a.glb")["materials"][0]["pbrMetallicRoughness"]
    assert (surface["roughnessFactor"], surface["metallicFactor"]) == (0.25, 0.75)
    material = trimesh.load_scene(tmp_path / "a.glb", process=False).geometry.popitem()[1].visual.material
    assert (material.roughnessFactor, material.metallicFactor) == (0.25, 0.75)


def test_same_mesh_gives_the_same_bytes(textured: Mesh, tmp_path: Path) -> None:
    for name in ("a.glb", "b.glb"):
        write_glb(textured, tmp_path / name)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_vertex_colors_come_back_through_linear_light(textured: Mesh, tmp_path: Path) -> None:
    colored = Mesh(textured.vertices, textured.faces, vertex_color=textured.vertices.abs(), unlit=False)
    write_glb(colored, tmp_path / "a.glb")
    loaded = load_mesh(tmp_path / "a.glb")
    order = torch.cdist(loaded.vertices, colored.vertices).argmin(dim=1)
    # There and back through the transfer curve in float32; measured 6.0e-8.
    assert (loaded.vertex_color - colored.vertex_color[order]).abs().max() < 5e-7
    assert not loaded.unlit


def test_obj_round_trip(textured: Mesh, tmp_path: Path) -> None:
    """rep T8.2, T8.4: v is flipped exactly once, texels and positions come back."""
    files = write_obj(textured, tmp_path / "a.obj")
    assert [file.name for file in files] == ["a.png", "a.mtl", "a.obj"]
    loaded = load_mesh(tmp_path / "a.obj")
    assert torch.equal(loaded.corners, textured.corners)
    assert torch.equal(loaded.texture, textured.texture)
    # The file has nine decimals; measured 4.7e-10.
    assert torch.allclose(loaded.uv[loaded.uv_faces], textured.uv[textured.uv_faces], atol=2e-9, rtol=0)
    assert loaded.unlit
    first = next(line for line in (tmp_path / "a.obj").read_text().splitlines() if line.startswith("vt"))
    assert float(first.split()[2]) == pytest.approx(1 - float(textured.uv[0, 1]), abs=1e-9)


def test_glb_opens_right_side_up_in_another_reader(tmp_path: Path) -> None:
    """rep T8.7: no node turns the asset; +Y stays up and +Z stays in front."""
    mesh = Mesh(torch.tensor([[0.0, 1, 0], [0, 0, 2], [3, 0, 0]]), torch.tensor([[0, 1, 2]]))
    write_glb(mesh, tmp_path / "a.glb")
    scene = trimesh.load_scene(tmp_path / "a.glb", process=False)
    assert scene.bounds.tolist() == [[0, 0, 0], [3, 1, 2]]


def test_failures_leave_the_old_file_and_no_crumbs(textured: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    path.write_text("old")
    with pytest.raises(ValueError, match="not finite"):
        write_glb(replace(textured, texture=torch.full((4, 4, 3), torch.nan)), path)
    with pytest.raises(ValueError, match="at least one triangle"):
        write_glb(Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.long)), path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.glb"]
    assert path.read_text() == "old"


def test_errors_of_the_file_system_come_out_as_they_are(textured: Mesh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_glb(textured, tmp_path / "file" / "a.glb")


def test_unreadable_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean \.glb"):
        load_mesh(tmp_path / "a.gbl")
    with pytest.raises(FileNotFoundError, match=r"a\.glb"):
        load_mesh(tmp_path / "a.glb")
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match="no triangles"):
        load_mesh(tmp_path / "a.obj")
