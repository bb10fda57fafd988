"""Write a mesh as Wavefront OBJ with its material (MTL) and texture (PNG)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamkit import __version__
from dreamkit.export.atomic import write_atomically
from dreamkit.export.png import encode_png
from dreamkit.mesh import Mesh


def write_obj(mesh: Mesh, path: Path, name: str = "asset") -> tuple[Path, ...]:
    """Write `path`, its `.mtl` and, for a textured mesh, its `.png` files; returns the files, the OBJ last.

    Texture coordinates are flipped here, once: OBJ counts v from the bottom. Numbers have the digits that bring a
    float32 back exactly. Vertex colours follow the position (`v x y z r g b`), as most readers expect. Roughness and
    metallic go into the PBR fields `Pr` and `Pm`, or as grey images into `map_Pr` and `map_Pm`, and the normal map
    into `norm` (card rep 8.5). Raises OSError when a file cannot be written.
    """
    path = Path(path)
    material = path.with_suffix(".mtl")
    maps = {keyword: (path.with_name(path.stem + ending), image) for keyword, ending, image in _maps(mesh)}
    for place, image in maps.values():
        write_atomically(place, encode_png(image))
    names = {keyword: place.name for keyword, (place, _) in maps.items()}
    write_atomically(material, _material(mesh, name, names).encode())
    # Last, because it names the others: a reader that sees it finds them.
    write_atomically(path, _geometry(mesh, name, material.name).encode())
    return (*(place for place, _ in maps.values()), material, path)


def _maps(mesh: Mesh) -> Iterator[tuple[str, str, Tensor]]:
    """The material's keyword, the ending of the file's name and the image of each texture."""
    if mesh.texture is not None:
        yield "map_Kd", ".png", mesh.texture
    if mesh.orm is not None:
        yield "map_Pr", "_roughness.png", mesh.orm[..., 1:2]
        yield "map_Pm", "_metallic.png", mesh.orm[..., 2:]
    if mesh.normal_map is not None:
        yield "norm", "_normal.png", mesh.normal_map


def _geometry(mesh: Mesh, name: str, material: str) -> str:
    columns = [mesh.vertices] if mesh.vertex_color is None else [mesh.vertices, mesh.vertex_color]
    lines = [f"# dreamkit {__version__}", f"mtllib {material}", f"o {name}"]
    lines += _rows("v", torch.cat(columns, dim=-1).detach().cpu().numpy())
    lines += _rows("vn", mesh.vertex_normals.detach().cpu().numpy())
    corners = [mesh.faces.cpu().numpy() + 1]
    if mesh.uv is not None and mesh.uv_faces is not None:
        flipped = mesh.uv.detach().cpu().numpy() * [1, -1] + [0, 1]
        lines += _rows("vt", flipped)
        corners.append(mesh.uv_faces.cpu().numpy() + 1)
    lines.append(f"usemtl {name}")
    pattern = "{0}/{1}/{0}" if len(corners) == 2 else "{0}//{0}"
    for face in np.stack([corners[0], corners[-1]], axis=-1).tolist():
        lines.append("f " + " ".join(pattern.format(*corner) for corner in face))
    return "\n".join(lines) + "\n"


def _rows(keyword: str, values: np.ndarray) -> list[str]:
    # Nine significant digits identify a float32.
    return [f"{keyword} " + " ".join(f"{number:.9g}" for number in row) for row in values.tolist()]


def _material(mesh: Mesh, name: str, maps: dict[str, str]) -> str:
    lines = [f"# dreamkit {__version__}", f"newmtl {name}", "Kd 1 1 1", "Ks 0 0 0", "d 1"]
    # illum 0 is "colour only", OBJ's word for unlit; 1 is diffuse light.
    roughness, metallic = (mesh.roughness, mesh.metallic) if mesh.orm is None else (1.0, 1.0)
    lines += [f"illum {0 if mesh.unlit else 1}", f"Pr {roughness:.9g}", f"Pm {metallic:.9g}"]
    lines += [f"{keyword} {file}" for keyword, file in maps.items()]
    return "\n".join(lines) + "\n"
