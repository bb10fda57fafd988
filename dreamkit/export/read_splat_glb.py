"""Gaussian clouds out of binary glTF with KHR_gaussian_splatting (card representations 8.8)."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.export.check_file import DamagedFile, check_file
from dreamkit.export.splat_file import SplatFile
from dreamkit.export.splat_gltf import EXTENSION

FLOAT = 5126
"glTF's number for float32."


def holds_splats(path: Path) -> bool:
    """True for a GLB whose document names the extension; raises FileNotFoundError and DamagedFile."""
    check_file(path)
    return EXTENSION in _document(path)[0].get("extensionsUsed", [])


def read_splat_glb(path: Path) -> SplatFile:
    """The first cloud of a GLB, as raw values: `log scale`, `logit opacity`, quaternions (w, x, y, z), harmonics.

    Scales and opacities are kept away from where the inverse is infinite (1e-12; 1e-7 from 0 and 1). Transforms of
    nodes are not applied. Raises FileNotFoundError, DamagedFile, and ValueError for a file without a cloud, or whose
    colours are not display sRGB.
    """
    check_file(path)
    document, binary = _document(path)
    primitives = [part for mesh in document.get("meshes", []) for part in mesh["primitives"]]
    clouds = [part for part in primitives if EXTENSION in part.get("extensions", {})]
    if not clouds:
        raise ValueError(f"{path.name} holds no cloud of Gaussians ({EXTENSION}); is it a mesh?")
    space = clouds[0]["extensions"][EXTENSION].get("colorSpace", "srgb_rec709_display")
    if space != "srgb_rec709_display":
        raise ValueError(f"{path.name} has colours in {space!r}; only 'srgb_rec709_display' is read")
    attributes = clouds[0]["attributes"]

    def values(name: str) -> Float[Tensor, "gaussians parts"]:
        if name not in attributes:
            raise DamagedFile(f"{path.name} is damaged: its Gaussians have no {name}")
        return _values(path, document, binary, attributes[name])

    rotations, opacity = values(f"{EXTENSION}:ROTATION"), values(f"{EXTENSION}:OPACITY")[:, 0]
    harmonics = [values(f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{i}") for degree, i in _coefficients(attributes)]
    return SplatFile(
        values("POSITION"),
        values(f"{EXTENSION}:SCALE").clamp_min(1e-12).log(),
        rotations[:, [3, 0, 1, 2]],
        torch.logit(opacity.double(), eps=1e-7).float(),
        torch.stack(harmonics, dim=1),
    )


def _coefficients(attributes: dict[str, int]) -> list[tuple[int, int]]:
    """(degree, index) of all harmonics up to the highest whole degree."""
    count = sum(name.startswith(f"{EXTENSION}:SH_DEGREE_") for name in attributes)
    return [(degree, i) for degree in range(max(math.isqrt(count), 1)) for i in range(2 * degree + 1)]


def _document(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a GLB that `check_file` has passed."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def _values(path: Path, document: dict[str, Any], binary: bytes, index: int) -> Float[Tensor, "count parts"]:
    """An accessor's numbers, one row for each entry."""
    accessor = document["accessors"][index]
    if accessor["componentType"] != FLOAT:
        raise ValueError(f"{path.name} stores Gaussians in compressed numbers; only float32 is read")
    parts = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    view = document["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", 4 * parts)
    rows = np.ndarray((accessor["count"], parts), "<f4", binary, start, (stride, 4)).copy()
    if not np.isfinite(rows).all():
        raise DamagedFile(f"{path.name} is damaged: it holds numbers that are not finite")
    return torch.from_numpy(rows)
