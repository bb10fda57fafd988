"""Write a mesh as binary glTF 2.0 (.glb): one file with geometry, texture and material.

The container is written here, not by trimesh: that writer has no KHR_materials_unlit, leaves factors to the defaults
(metallic 1: black plastic) and picks its own names. The format is a header and two chunks. Source: card rep 8.3.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit import __version__
from dreamkit.export.atomic import write_atomically
from dreamkit.export.png import encode_png
from dreamkit.mesh import Mesh
from dreamkit.ops.tangents import corner_tangents
from dreamkit.renderers.surface import is_closed
from dreamkit.vectors import decode_srgb

# Numbers of the specification: accessor component types, buffer targets, wrap modes, filters, chunk types.
FLOAT, UINT32, ARRAY, ELEMENTS, CLAMP, LINEAR, MIPMAP = 5126, 5125, 34962, 34963, 33071, 9729, 9987
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942


@dataclass
class BinaryChunk:
    """The binary part of a file as it grows, with the views and accessors that point into it."""

    content: bytearray = field(default_factory=bytearray)
    views: list[dict] = field(default_factory=list)
    accessors: list[dict] = field(default_factory=list)

    def append(self, content: bytes, target: int | None = None) -> int:
        """Add bytes at the next multiple of four; returns the number of their view."""
        self.content += b"\0" * (-len(self.content) % 4)
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.content += content
        return len(self.views) - 1

    def attribute(self, values: Tensor, bounds: bool = False) -> int:
        """Add one vector per vertex; `bounds` also states the smallest and largest, as POSITION must."""
        array = np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4")
        view = self.append(array.tobytes(), ARRAY)
        shape = {
            "componentType": FLOAT,
            "count": len(array),
            "type": "SCALAR" if array.shape[1] == 1 else f"VEC{array.shape[1]}",
        }
        if bounds:
            shape |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append({"bufferView": view, **shape})
        return len(self.accessors) - 1

    def indices(self, faces: Tensor) -> int:
        array = np.ascontiguousarray(faces.cpu().numpy(), dtype="<u4").reshape(-1)
        view = self.append(array.tobytes(), ELEMENTS)
        self.accessors.append({"bufferView": view, "componentType": UINT32, "count": len(array), "type": "SCALAR"})
        return len(self.accessors) - 1


def write_glb(mesh: Mesh, path: Path, name: str = "asset") -> None:
    """Write `mesh` to `path` in one go; the same mesh and name give the same bytes.

    Textures are embedded as PNG: base colour, one image of occlusion, roughness and metallic, and the normal map, with
    tangents (MikkTSpace). Without the second, roughness and metallic are stated as numbers. An unlit mesh is marked
    with KHR_materials_unlit, so that viewers do not light its baked light again. Vertex colours become linear COLOR_0.
    Raises ValueError for a mesh without faces, and OSError when the file cannot be written.
    """
    if len(mesh.faces) == 0:
        raise ValueError(f"a GLB needs at least one triangle; the mesh for {path} has none")
    binary = BinaryChunk()
    primitive = _primitive(mesh, binary)
    document = {
        "asset": {"version": "2.0", "generator": f"dreamkit {__version__}"},
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [_material(mesh, name)],
    }
    images = _images(mesh, binary, name)
    if images:
        document["images"] = images
        document["samplers"] = [{"magFilter": LINEAR, "minFilter": MIPMAP, "wrapS": CLAMP, "wrapT": CLAMP}]
        document["textures"] = [{"sampler": 0, "source": source} for source in range(len(images))]
    if mesh.unlit:
        document["extensionsUsed"] = ["KHR_materials_unlit"]
    binary.content += b"\0" * (-len(binary.content) % 4)
    document |= {"accessors": binary.accessors, "bufferViews": binary.views}
    document["buffers"] = [{"byteLength": len(binary.content)}]
    write_atomically(path, container(document, bytes(binary.content)))


def _primitive(mesh: Mesh, binary: BinaryChunk) -> dict:
    tangents = None if mesh.normal_map is None else corner_tangents(mesh)
    vertex, coordinate, corner, faces = _join_indices(mesh, tangents)
    normals = unit_normals(mesh)
    attributes = {
        "POSITION": binary.attribute(mesh.vertices[vertex], bounds=True),
        "NORMAL": binary.attribute(normals[vertex]),
    }
    if tangents is not None:
        attributes["TANGENT"] = binary.attribute(tangents.reshape(-1, 4)[corner])
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = binary.attribute(mesh.uv[coordinate])
    if mesh.vertex_color is not None and mesh.texture is None:
        attributes["COLOR_0"] = binary.attribute(decode_srgb(mesh.vertex_color.clamp(0, 1))[vertex])
    return {"attributes": attributes, "indices": binary.indices(faces), "material": 0}


def _join_indices(
    mesh: Mesh, tangents: Float[Tensor, "faces 3 4"] | None
) -> tuple[Int[Tensor, " joined"], Int[Tensor, " joined"], Int[Tensor, " joined"], Int[Tensor, "faces 3"]]:
    """One index list for everything, as glTF wants: the combinations in use, one corner of each, and faces over them.

    Corners of mirrored charts differ in the sign of their tangents only; they are kept apart.
    """
    uv_faces = mesh.faces if mesh.uv_faces is None else mesh.uv_faces
    count = 1 + int(uv_faces.max())
    mirrored = torch.zeros_like(uv_faces) if tangents is None else (tangents[..., 3] < 0).long()
    joined, faces = torch.unique((mesh.faces * count + uv_faces) * 2 + mirrored, return_inverse=True)
    corner = torch.empty_like(joined)
    corner[faces.reshape(-1)] = torch.arange(faces.numel(), device=faces.device)
    pairs = joined // 2
    return pairs // count, pairs % count, corner, faces


def unit_normals(mesh: Mesh) -> Float[Tensor, "vertices 3"]:
    """The mesh's normals at its vertices, all of unit length as file formats want it."""
    normals = mesh.vertex_normals
    # A vertex of degenerate triangles only has no normal of its own.
    return torch.where(normals.norm(dim=-1, keepdim=True) > 0.5, normals, normals.new_tensor([0.0, 1.0, 0.0]))


def textures(mesh: Mesh) -> dict[str, Tensor]:
    """The textures that the mesh has, by what they say."""
    maps = {"base color": mesh.texture, "occlusion roughness metallic": mesh.orm, "normal": mesh.normal_map}
    return {name: image for name, image in maps.items() if image is not None}


def _images(mesh: Mesh, binary: BinaryChunk, name: str) -> list[dict]:
    views = {kind: binary.append(encode_png(image)) for kind, image in textures(mesh).items()}
    return [{"name": f"{name} {kind}", "mimeType": "image/png", "bufferView": view} for kind, view in views.items()]


def _material(mesh: Mesh, name: str) -> dict:
    # A factor multiplies its texture, and the textures hold the values themselves.
    surface: dict = {
        "baseColorFactor": [1.0, 1.0, 1.0, 1.0],
        "metallicFactor": float(mesh.metallic) if mesh.orm is None else 1.0,
        "roughnessFactor": float(mesh.roughness) if mesh.orm is None else 1.0,
    }
    places = {kind: {"index": index, "texCoord": 0} for index, kind in enumerate(textures(mesh))}
    if mesh.texture is not None:
        surface["baseColorTexture"] = places["base color"]
    material: dict = {"name": f"{name} material", "pbrMetallicRoughness": surface, "alphaMode": "OPAQUE"}
    if mesh.orm is not None:
        surface["metallicRoughnessTexture"] = places["occlusion roughness metallic"]
        material["occlusionTexture"] = places["occlusion roughness metallic"]
    if mesh.normal_map is not None:
        material["normalTexture"] = {**places["normal"], "scale": 1.0}
    # Open surfaces are seen from both sides, as our renderer draws them.
    material["doubleSided"] = not is_closed(mesh)
    if mesh.unlit:
        material["extensions"] = {"KHR_materials_unlit": {}}
    return material


def container(document: dict, binary: bytes) -> bytes:
    """A whole file: header (magic, version 2, length), then the JSON chunk padded with spaces and the binary chunk."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), JSON_CHUNK) + text + struct.pack("<II", len(binary), BINARY_CHUNK) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
