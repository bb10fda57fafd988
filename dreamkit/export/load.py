"""Read a mesh from a GLB or OBJ file (through trimesh)."""

import difflib
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import Material, PBRMaterial

from dreamkit.export.load_maps import pixels, read_maps
from dreamkit.mesh import Mesh
from dreamkit.vectors import decode_srgb, encode_srgb

FORMATS = ("glb", "gltf", "obj", "ply", "stl", "off")


def load_mesh(path: Path) -> Mesh:
    """The triangles of a file as one Mesh, vertices that differ only in texture coordinates merged.

    Brings positions (scene transforms applied), texture coordinates, base colour texture, vertex colours, roughness,
    metallic and occlusion (numbers or textures), the normal map, and whether the material is unlit. A file with several
    materials comes as bare geometry, because a Mesh has one. Raises FileNotFoundError, and ValueError for an unknown
    ending, a file without triangles, and textures that cannot be read or lie outside the file's folder.
    """
    path = Path(path)
    ending = path.suffix.lower().lstrip(".")
    if ending not in FORMATS:
        close = difflib.get_close_matches(ending, FORMATS, n=1)
        hint = f"; did you mean .{close[0]}?" if close else ""
        raise ValueError(f"cannot read {path.name}: known endings are {', '.join(FORMATS)}{hint}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    scene = trimesh.load_scene(path, process=False)
    parts = _parts(scene)
    if not parts:
        raise ValueError(f"{path.name} holds no triangles")
    if len(parts) > 1:
        parts = [trimesh.util.concatenate([trimesh.Trimesh(p.vertices, p.faces, process=False) for p in parts])]
    return _to_mesh(parts[0], _is_unlit(path, ending), path.parent, linear=ending in ("glb", "gltf"))


def check_positions(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless positions are of the form N by 3; a file may say that they have two numbers each."""
    if len(shape) != 2 or shape[1] != 3:
        raise ValueError(f"positions are of the form {tuple(shape)}, and not N by 3")


def _parts(scene: trimesh.Scene) -> list[trimesh.Trimesh]:
    """The scene's meshes in world space. (`scene.dump` does this too, but loses vertex colours.)"""
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        part = scene.geometry[name]
        if isinstance(part, trimesh.Trimesh) and len(part.faces):
            placed = trimesh.Trimesh(part.vertices, part.faces, visual=part.visual, process=False)
            parts.append(placed.apply_transform(transform))
    return parts


def _to_mesh(part: trimesh.Trimesh, unlit: bool, folder: Path, linear: bool) -> Mesh:
    check_positions(part.vertices.shape)
    # Vertices are doubled along seams in the file; equal positions become one vertex again.
    vertices, inverse = np.unique(np.asarray(part.vertices, dtype=np.float32), axis=0, return_inverse=True)
    origin = torch.from_numpy(inverse.reshape(-1).astype(np.int64))
    faces = torch.from_numpy(np.asarray(part.faces, dtype=np.int64))
    mesh = Mesh(torch.from_numpy(vertices), origin[faces], unlit=unlit)
    if isinstance(part.visual, TextureVisuals) and part.visual.uv is not None:
        return _with_texture(mesh, part.visual, faces, folder)
    values = _vertex_colors(part.visual)
    if values is None:
        tint = _tint(part.visual.material) if isinstance(part.visual, TextureVisuals) else None
        return mesh if tint is None else replace(mesh, vertex_color=encode_srgb(tint).expand(len(vertices), 3).clone())
    color = torch.zeros(len(vertices), 3)
    color[origin] = values
    # glTF's COLOR_0 is linear; the other formats hold display colours.
    return replace(mesh, vertex_color=encode_srgb(color) if linear else color)


def _vertex_colors(visual: ColorVisuals | TextureVisuals | None) -> Float[Tensor, "vertices 3"] | None:
    values = None
    if isinstance(visual, TextureVisuals):
        values = visual.vertex_attributes.get("color")
    elif isinstance(visual, ColorVisuals) and visual.kind == "vertex":
        values = visual.vertex_colors
    if values is None:
        return None
    scale = 255 if np.issubdtype(values.dtype, np.integer) else 1
    return torch.from_numpy(np.array(values[:, :3], dtype=np.float32)) / scale


def _with_texture(mesh: Mesh, visual: TextureVisuals, faces: Int[Tensor, "faces 3"], folder: Path) -> Mesh:
    # trimesh counts v from the bottom for every format.
    uv = torch.from_numpy(np.array(visual.uv, dtype=np.float64) * [1, -1] + [0, 1]).float()
    material = visual.material
    image = material.baseColorTexture if isinstance(material, PBRMaterial) else material.image
    texture, tint = None if image is None else pixels(image), _tint(material)
    color = None
    if tint is not None and texture is not None:
        texture = encode_srgb(decode_srgb(texture) * tint)
    elif tint is not None:
        color = encode_srgb(tint).expand(len(mesh.vertices), 3).clone()
    maps = read_maps(material, folder)
    return replace(mesh, uv=uv, uv_faces=faces, texture=texture, vertex_color=color, **maps)


def _tint(material: Material | None) -> Float[Tensor, "3"] | None:
    """What multiplies the base colour, linear: glTF's factor, or Kd of an OBJ; None where that is white or missing."""
    if isinstance(material, PBRMaterial):
        factor = material.baseColorFactor
        # trimesh keeps it in bytes.
        tint = None if factor is None else torch.from_numpy(np.array(factor[:3], dtype=np.float32)) / 255
    else:
        said = getattr(material, "kwargs", {}).get("kd")
        tint = None if said is None else decode_srgb(torch.tensor([float(part) for part in said]).clamp(0, 1))
    return None if tint is None or bool((tint > 0.999).all()) else tint


def _is_unlit(path: Path, ending: str) -> bool:
    """Whether a file asks for its colour without light: KHR_materials_unlit, or `illum 0` in an OBJ's material."""
    if ending == "glb":
        content = path.read_bytes()
        length = struct.unpack_from("<I", content, 12)[0]
        return "KHR_materials_unlit" in json.loads(content[20 : 20 + length]).get("extensionsUsed", [])
    if ending == "gltf":
        return "KHR_materials_unlit" in json.loads(path.read_bytes()).get("extensionsUsed", [])
    material = path.with_suffix(".mtl")
    return ending == "obj" and material.is_file() and "illum 0" in material.read_text().splitlines()
