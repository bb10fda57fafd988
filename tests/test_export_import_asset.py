"""Files from strangers: whole ones come in placed and clean, damaged and hostile ones get a clear answer."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from dreamkit.export.check_file import DamagedFile, check_file
from dreamkit.export.gltf import write_glb
from dreamkit.export.import_asset import import_mesh, import_points
from dreamkit.mesh import Mesh

BOX = trimesh.creation.box((1.0, 2.0, 4.0))


def box() -> Mesh:
    return Mesh(torch.tensor(BOX.vertices).float() + 5, torch.tensor(BOX.faces))


def glb(document: dict, data: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text
    parts += struct.pack("<I4s", len(data), b"BIN\0") + data if data else b""
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


@pytest.mark.parametrize("ending", ["glb", "obj", "ply", "stl", "off"])
def test_meshes_come_in_around_the_origin(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"box.{ending}"
    if ending == "glb":
        write_glb(box(), path, "box")
    else:
        trimesh.Trimesh(box().vertices.numpy(), box().faces.numpy(), process=False).export(path)
    found = import_mesh(path)
    assert len(found.mesh.faces) == 12
    assert float(found.mesh.vertices.norm(dim=-1).max()) == pytest.approx(0.85)
    assert abs(found.mesh.volume) == pytest.approx(8 * found.placement.scale**3, rel=1e-4)
    back = found.placement.undo(found.mesh.vertices)
    assert torch.allclose(back.amin(dim=0), torch.tensor([4.5, 4.0, 3.0]), atol=1e-4)


def test_points_come_in_with_their_colours(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    colors = np.full((50, 4), [255, 0, 0, 255], dtype=np.uint8)
    trimesh.PointCloud(points, colors).export(tmp_path / "cloud.ply")
    found = import_points(tmp_path / "cloud.ply")
    assert found.points.shape == (50, 3)
    assert float(found.points.norm(dim=-1).max()) == pytest.approx(0.85)
    assert torch.equal(found.color, torch.tensor([1.0, 0.0, 0.0]).expand(50, 3))


def test_faces_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 2 0 0\nf 1 2 3\nf 1 2 4\n")
    found = import_mesh(tmp_path / "flat.obj")
    assert (len(found.mesh.faces), found.dropped) == (1, 1)
    (tmp_path / "none.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(ValueError, match="none of them has an area"):
        import_mesh(tmp_path / "none.obj")


def test_truncated_glb_files_are_refused_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "box.glb"
    write_glb(box(), path, "box")
    whole = path.read_bytes()
    for length in (0, 4, 11, 19, 25, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            import_mesh(path)


def test_a_billion_claimed_vertices_cost_nothing(tmp_path: Path) -> None:
    accessor = {"componentType": 5126, "count": 10**9, "type": "VEC3"}
    (tmp_path / "a.glb").write_bytes(glb({"asset": {"version": "2.0"}, "accessors": [accessor]}))
    header = "ply\nformat binary_little_endian 1.0\nelement vertex {}\nproperty float x\nproperty float y\n"
    (tmp_path / "a.ply").write_text(header.format(10**9) + "property float z\nend_header\n")
    (tmp_path / "b.ply").write_text(header.format(10**6) + "property float z\nend_header\n")
    (tmp_path / "a.stl").write_bytes(b"\0" * 80 + struct.pack("<I", 10**9))
    for name, words in (("a.glb", "1000000000"), ("a.ply", "1000000000"), ("b.ply", "12000"), ("a.stl", "cut short")):
        with pytest.raises(DamagedFile, match=words):
            import_mesh(tmp_path / name)


def test_arrays_beyond_their_buffers_are_refused(tmp_path: Path) -> None:
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 12}],
        "bufferViews": [{"buffer": 0, "byteLength": 12}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 2, "type": "VEC3"}],
    }
    path = tmp_path / "a.glb"
    path.write_bytes(glb(document, b"\0" * 12))
    with pytest.raises(DamagedFile, match="24 bytes, of a view of 12"):
        check_file(path)
    document["bufferViews"][0]["byteLength"] = 24
    path.write_bytes(glb(document, b"\0" * 12))
    with pytest.raises(DamagedFile, match="beyond its buffer's 12 bytes"):
        check_file(path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\secret.png", "http://example.org/a.png", "C:\\a"]
)
def test_references_outside_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "a.mtl").write_text(f"newmtl m\nmap_Kd {name}\n")
    (tmp_path / "b.obj").write_text(f"mtllib {name}\n")
    (tmp_path / "c.glb").write_bytes(glb({"asset": {"version": "2.0"}, "images": [{"uri": name}]}))
    for file in ("a.obj", "b.obj", "c.glb"):
        with pytest.raises(DamagedFile, match="outside its folder"):
            import_mesh(tmp_path / file)


def test_positions_that_are_no_numbers_and_faces_without_vertices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(DamagedFile, match="not finite"):
        import_mesh(tmp_path / "nan.obj")
    (tmp_path / "far.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    with pytest.raises(ValueError, match=r"far\.obj"):
        import_mesh(tmp_path / "far.obj")


def test_positions_of_two_numbers_and_documents_that_are_none_are_refused(tmp_path: Path) -> None:
    """Found by fuzzing: an accessor of VEC2, and entries that are no objects."""
    path = tmp_path / "flat.glb"
    write_glb(box(), path, "box")
    path.write_bytes(path.read_bytes().replace(b'"VEC3"', b'"VEC2"'))
    with pytest.raises(DamagedFile, match="not N by 3"):
        import_mesh(path)
    for document in ({"images": [3]}, {"asset": {}, "buffers": [{"uri": 7}]}, [1], {"accessors": {"a": 1}}):
        path.write_bytes(glb(document))
        with pytest.raises(DamagedFile, match=r"flat\.glb"):
            import_mesh(path)


def test_a_material_of_thousands_of_letters_is_no_file_and_the_mesh_comes_without(tmp_path: Path) -> None:
    """Found by fuzzing: the file system's own "File name too long" came out."""
    (tmp_path / "a.obj").write_text(f"mtllib {'m' * 3000}.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert len(import_mesh(tmp_path / "a.obj").mesh.faces) == 1


def test_noise_is_refused_whatever_it_calls_itself(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, 999, dtype=np.uint8).tobytes()
    for ending in ("glb", "gltf", "ply", "stl", "obj", "off"):
        path = tmp_path / f"noise.{ending}"
        path.write_bytes(noise)
        with pytest.raises(ValueError, match="noise"):
            import_mesh(path)
    with pytest.raises(FileNotFoundError):
        import_mesh(tmp_path / "nothing.glb")


def test_the_colour_of_a_material_comes_with_the_mesh(tmp_path: Path) -> None:
    """Many files have no texture and no vertex colours: glTF's factor is linear and an OBJ's Kd is a display colour."""
    ball = trimesh.creation.icosphere(1, 0.5)
    ball.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[1.0, 0.0, 0.0, 1.0])
    )
    ball.export(tmp_path / "ball.glb")
    (tmp_path / "tin.mtl").write_text("newmtl tin\nKd 0.2 0.4 0.8\n")
    (tmp_path / "tin.obj").write_text("mtllib tin.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl tin\nf 1 2 3\n")
    for name, color in {"ball.glb": (1.0, 0.0, 0.0), "tin.obj": (0.2, 0.4, 0.8)}.items():
        mesh = import_mesh(tmp_path / name).mesh
        assert mesh.vertex_color is not None, name
        # 8 bits on the way. Measured: 0.
        assert torch.allclose(mesh.vertex_color, torch.tensor(color).expand(len(mesh.vertices), 3), atol=1 / 255), name
