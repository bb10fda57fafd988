"""Gaussian clouds as `.ply` in the field order that standard viewers read (card representations 6.7)."""

import math
from pathlib import Path

import numpy as np
import torch

from dreamkit.export.atomic import write_atomically
from dreamkit.export.splat_file import SplatFile

LONGEST_HEADER = 1 << 16
"Bytes in which a header must end; the longest that is written has 2 kB."


def write_splat_ply(file: SplatFile, path: Path) -> None:
    """Write raw float32 values, little-endian, in the order of the reference implementation (arXiv 2308.04079).

    The higher harmonics are written channel by channel: all of red, then green, then blue. Normals are zero. Axes stay
    glTF's, +Y up; viewers that expect photographs' axes show the cloud upside down. Raises OSError where the file
    cannot be written.
    """
    count, coefficients, _ = file.harmonics.shape
    rest = file.harmonics[:, 1:].transpose(1, 2).reshape(count, -1)
    parts = (
        file.positions,
        torch.zeros_like(file.positions),
        file.harmonics[:, 0],
        rest,
        file.opacities.unsqueeze(-1),
        file.scales,
        file.rotations,
    )
    table = torch.cat(parts, dim=-1).detach().cpu().numpy().astype("<f4")
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property float {name}" for name in _names(coefficients)] + ["end_header", ""]
    write_atomically(path, "\n".join(lines).encode("ascii") + table.tobytes())


def read_splat_ply(path: Path) -> SplatFile:
    """Read what `write_splat_ply` or another tool wrote: the properties may come in any order.

    Raises FileNotFoundError, and ValueError for a file that is no binary cloud of Gaussians, is cut short, or holds
    numbers that are not finite. Memory is bounded by the size of the file, whatever its header claims.
    """
    content = path.read_bytes()
    end = content.find(b"end_header\n", 0, LONGEST_HEADER)
    if not content.startswith(b"ply\n") or end < 0:
        raise ValueError(f"{path.name} is not a .ply file: it does not begin with a header")
    count, names = _header(path.name, content[:end].decode("ascii", "replace").splitlines())
    body = content[end + len(b"end_header\n") :]
    needed = 4 * count * len(names)
    if len(body) < needed:
        raise ValueError(
            f"{path.name} is cut short: its header claims {count} Gaussians ({needed} bytes), and {len(body)} follow"
        )
    table = np.frombuffer(body, "<f4", count * len(names)).reshape(count, len(names))
    if not np.isfinite(table).all():
        raise ValueError(f"{path.name} holds numbers that are not finite; it was damaged, or saved from a failed run")
    column = {name: torch.from_numpy(table[:, i].copy()) for i, name in enumerate(names)}
    return _assembled(path.name, column)


def _names(coefficients: int) -> list[str]:
    rest = [f"f_rest_{i}" for i in range(3 * (coefficients - 1))]
    fixed = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    return [*fixed, *rest, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def _header(name: str, lines: list[str]) -> tuple[int, list[str]]:
    """The number of Gaussians and the names of their properties."""
    if "format binary_little_endian 1.0" not in lines:
        raise ValueError(f"{name}: only binary little-endian .ply files are read; convert it first")
    elements = [line.split() for line in lines if line.startswith("element ")]
    if len(elements) != 1 or len(elements[0]) != 3 or elements[0][1] != "vertex" or not elements[0][2].isdigit():
        raise ValueError(f"{name} holds something other than one list of vertices; is it a mesh?")
    properties = [line.split() for line in lines if line.startswith("property ")]
    if any(len(words) != 3 or words[1] not in ("float", "float32") for words in properties):
        raise ValueError(f"{name}: a cloud of Gaussians has float properties only")
    return int(elements[0][2]), [words[2] for words in properties]


def _assembled(name: str, column: dict[str, torch.Tensor]) -> SplatFile:
    rest = sum(key.startswith("f_rest_") for key in column)
    coefficients = rest // 3 + 1
    missing = [key for key in _names(coefficients) if key not in column and key not in ("nx", "ny", "nz")]
    if missing or math.isqrt(coefficients) ** 2 != coefficients:
        raise ValueError(
            f"{name} is no cloud of Gaussians: it lacks {', '.join(missing) or 'some of the harmonics'} "
            f"(it has {rest} f_rest entries; 0, 9, 24 and 45 are known)"
        )

    def stacked(*keys: str) -> torch.Tensor:
        return torch.stack([column[key] for key in keys], dim=-1)

    higher = [column[f"f_rest_{i}"] for i in range(rest)]
    constant = stacked("f_dc_0", "f_dc_1", "f_dc_2").unsqueeze(1)
    channels = (
        torch.stack(higher, dim=-1).view(-1, 3, coefficients - 1) if higher else constant.new_zeros(len(constant), 3, 0)
    )
    return SplatFile(
        stacked("x", "y", "z"),
        stacked("scale_0", "scale_1", "scale_2"),
        stacked("rot_0", "rot_1", "rot_2", "rot_3"),
        column["opacity"],
        torch.cat([constant, channels.transpose(1, 2)], dim=1),
    )
