"""Files from strangers: meshes, point clouds, splats, environment maps and checkpoints."""

import json
from collections.abc import Mapping
from functools import cached_property
from random import Random

import numpy as np
import torch
import trimesh
from mutation import spoiled_bytes, spoiled_glb, spoiled_text, spoiled_tree
from target import AbstractTarget

from dreamkit.export.gltf import write_glb
from dreamkit.export.import_asset import import_mesh, import_points
from dreamkit.export.obj import write_obj
from dreamkit.export.splat_file import SplatFile
from dreamkit.export.splat_ply import read_splat_ply, write_splat_ply
from dreamkit.materials.radiance_file import read_hdr, write_hdr
from dreamkit.mesh import Mesh
from dreamkit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


class Importers(AbstractTarget):
    """Meshes, point clouds, splats, environment maps and checkpoints."""

    @cached_property
    def good(self) -> Mapping[str, bytes]:
        """Whole files by name."""
        box = trimesh.creation.box((1.0, 2.0, 0.5))
        mesh = Mesh(torch.tensor(box.vertices).float(), torch.tensor(box.faces))
        corners = mesh.faces[:, [0, 1, 2]]
        draw = torch.Generator().manual_seed(0)
        uv = torch.rand(len(mesh.vertices), 2, generator=draw)
        painted = Mesh(mesh.vertices, mesh.faces, uv=uv, uv_faces=corners, texture=torch.rand(4, 4, 3, generator=draw))
        write_glb(painted, self.folder / "a.glb", "a")
        write_obj(painted, self.folder / "b.obj", "b")
        solid = trimesh.Trimesh(box.vertices, box.faces, process=False)
        for ending in ("ply", "stl", "off"):
            solid.export(self.folder / f"c.{ending}")
        (self.folder / "d.ply").write_bytes(_bytes(solid.export(file_type="ply", encoding="ascii")))
        (self.folder / "e.gltf").write_text(json.dumps(_gltf(painted)))
        trimesh.PointCloud(box.vertices, np.full((8, 4), 200, np.uint8)).export(self.folder / "points.ply")
        ones = torch.ones(3, 3)
        write_splat_ply(SplatFile(ones, -ones, torch.ones(3, 4), torch.ones(3), torch.ones(3, 4, 3)),
                        self.folder / "splat.ply")  # fmt: skip
        write_hdr(torch.rand(4, 8, 3, generator=draw), self.folder / "sky.hdr")
        save_checkpoint(self.folder / "run.safetensors", Checkpoint({"scene/a": torch.ones(2, 3)}, {"step": "1"}))
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()}

    def attempt(self, random: Random) -> None:
        name = random.choice(list(self.good))
        for other in ("b.obj", "b.mtl", "b.png"):
            (self.folder / other).write_bytes(self.good[other])
        path = self.folder / name
        path.write_bytes(self._spoiled(random, name))
        if name == "sky.hdr":
            assert read_hdr(path).isfinite().all()
        elif name == "splat.ply":
            assert read_splat_ply(path).positions.isfinite().all()
        elif name == "run.safetensors":
            load_checkpoint(path)
        elif name == "points.ply":
            assert import_points(path).points.isfinite().all()
        else:
            _check_mesh(import_mesh(self.folder / ("b.obj" if name.startswith("b.") else name)).mesh)

    def _spoiled(self, random: Random, name: str) -> bytes:
        content = self.good[name]
        if name.endswith(".glb"):
            return spoiled_glb(random, content)
        if name.endswith(".gltf") and random.random() < 0.7:
            return json.dumps(spoiled_tree(random, json.loads(content))).encode()
        if name.endswith((".obj", ".mtl", ".off", ".gltf")) or name == "d.ply":
            return spoiled_text(random, content.decode()).encode("utf-8", "surrogatepass")
        return spoiled_bytes(random, content)


def _check_mesh(mesh: Mesh) -> None:
    assert mesh.vertices.isfinite().all()
    used = mesh.vertices[mesh.faces.unique()]
    # Float32 rounding of a placed coordinate.
    assert float(used.norm(dim=-1).max()) < 0.85 * (1 + 1e-4)
    assert 0 <= int(mesh.faces.min()) <= int(mesh.faces.max()) < len(mesh.vertices)


def _gltf(mesh: Mesh) -> dict:
    """A text glTF with its buffer inside."""
    files = trimesh.exchange.gltf.export_gltf(
        trimesh.Scene([trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)]), embed_buffers=True
    )
    return json.loads(files["model.gltf"])


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
