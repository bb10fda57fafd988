"""Gaussian clouds as binary glTF with KHR_gaussian_splatting (ratified by Khronos; card representations 8.8)."""

import math
from pathlib import Path

import torch

from dreamkit import __version__
from dreamkit.export.atomic import write_atomically
from dreamkit.export.gltf import BinaryChunk, container
from dreamkit.export.splat_file import SplatFile
from dreamkit.representations.spherical_harmonics import DC
from dreamkit.vectors import decode_srgb, normalize

EXTENSION = "KHR_gaussian_splatting"
POINTS = 0


def write_splat_glb(file: SplatFile, path: Path, name: str = "asset") -> None:
    """Write a point primitive with the extension's attributes; viewers that do not know it show coloured points.

    Quaternions become (x, y, z, w) of length one, scales and opacities are activated, and colours are display colours
    (`srgb_rec709_display`). Harmonics keep their signs and order, which are the extension's. Raises ValueError for an
    empty cloud, and OSError where the file cannot be written.
    """
    if not len(file):
        raise ValueError(f"a GLB needs at least one Gaussian; the cloud for {path} has none")
    binary = BinaryChunk()
    attributes = {
        "POSITION": binary.attribute(file.positions, bounds=True),
        "COLOR_0": binary.attribute(_fallback(file)),
        f"{EXTENSION}:ROTATION": binary.attribute(normalize(file.rotations)[:, [1, 2, 3, 0]]),
        f"{EXTENSION}:SCALE": binary.attribute(file.scales.exp()),
        f"{EXTENSION}:OPACITY": binary.attribute(torch.sigmoid(file.opacities).unsqueeze(-1)),
    }
    for k in range(file.harmonics.shape[1]):
        degree = math.isqrt(k)
        key = f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{k - degree * degree}"
        attributes[key] = binary.attribute(file.harmonics[:, k])
    splatting = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    primitive = {"attributes": attributes, "mode": POINTS, "extensions": {EXTENSION: splatting}}
    document = {
        "asset": {"version": "2.0", "generator": f"dreamkit {__version__}"},
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "extensionsUsed": [EXTENSION],
    }
    binary.content += b"\0" * (-len(binary.content) % 4)
    document |= {"accessors": binary.accessors, "bufferViews": binary.views}
    document["buffers"] = [{"byteLength": len(binary.content)}]
    write_atomically(path, container(document, bytes(binary.content)))


def _fallback(file: SplatFile) -> torch.Tensor:
    """Linear colour and opacity of the points that a viewer without the extension shows."""
    display = (0.5 + DC * file.harmonics[:, 0]).clamp(0, 1)
    return torch.cat([decode_srgb(display), torch.sigmoid(file.opacities).unsqueeze(-1)], dim=-1)
