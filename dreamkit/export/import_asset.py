"""Bring a mesh or a point cloud in from a file: checked, without what cannot be drawn, and placed in the unit ball."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from dreamkit.export.check_file import DamagedFile, check_file
from dreamkit.export.load import check_positions, load_mesh
from dreamkit.mesh import Mesh
from dreamkit.vectors import middle_and_reach

_Content = TypeVar("_Content")


@dataclass(frozen=True)
class Placement:
    """How a shape was moved: `placed = (original - middle) * scale`."""

    middle: Float[Tensor, "3"]
    scale: float

    def undo(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Where placed points were in the file."""
        return points / self.scale + self.middle


@dataclass(frozen=True)
class ImportedMesh:
    """A mesh around the origin, and what was done to it."""

    mesh: Mesh
    placement: Placement
    dropped: int
    "Faces without area, left out."


@dataclass(frozen=True)
class PointCloud:
    """Points on a surface, as scanners and other tools give them."""

    points: Float[Tensor, "points 3"]
    color: Float[Tensor, "points 3"] | None
    "Display colour."
    placement: Placement


def import_mesh(path: Path, radius: float = 0.85) -> ImportedMesh:
    """The triangles of a GLB, glTF, OBJ, PLY, STL or OFF file, in a ball of `radius` around the origin (card 11.2).

    Raises FileNotFoundError; DamagedFile for files that are cut short, contradict themselves, reach outside their
    folder, or hold positions that are not finite; ValueError for unknown endings and files without triangles.
    """
    path = Path(path)
    mesh = _read(path, load_mesh)
    if len(mesh.faces) and int(mesh.faces.max()) >= len(mesh.vertices):
        raise DamagedFile(
            f"{path.name} is damaged: a face names vertex {int(mesh.faces.max())} of {len(mesh.vertices)}"
        )
    bad = int((~mesh.vertices.isfinite()).any(dim=-1).sum())
    if bad:
        raise DamagedFile(f"{path.name} is damaged: {bad} of its {len(mesh.vertices)} vertices are not finite numbers")
    placed, placement = _place(mesh, radius, path.name)
    a, b, c = placed.corners.double().unbind(dim=1)
    solid = torch.linalg.cross(b - a, c - a).norm(dim=-1) > 1e-14
    if not solid.any():
        raise ValueError(f"{path.name} holds {len(solid)} triangles, and none of them has an area")
    uv_faces = None if placed.uv_faces is None else placed.uv_faces[solid]
    kept = replace(placed, faces=placed.faces[solid], uv_faces=uv_faces)
    return ImportedMesh(kept, placement, int((~solid).sum()))


def import_points(path: Path, radius: float = 0.85) -> PointCloud:
    """The points of a PLY file (faces are ignored), in a ball of `radius` around the origin.

    Raises FileNotFoundError, DamagedFile as `import_mesh` does, and ValueError for files with fewer than four points.
    """
    path = Path(path)
    points, color = _read(path, _points)
    if len(points) < 4:
        raise ValueError(f"{path.name} holds {len(points)} points; a cloud needs at least four")
    bad = int((~points.isfinite()).any(dim=-1).sum())
    if bad:
        raise DamagedFile(f"{path.name} is damaged: {bad} of its {len(points)} points are not finite numbers")
    placement = _placement(points, radius, path.name)
    return PointCloud((points - placement.middle) * placement.scale, color, placement)


def _read(path: Path, read: Callable[[Path], _Content]) -> _Content:
    """What a file holds; raises FileNotFoundError, ValueError and DamagedFile, all of which name the file."""
    check_file(path)
    try:
        return read(path)
    except ValueError as error:
        if path.name in str(error):
            raise
        raise DamagedFile(f"{path.name} is damaged: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        # Parsers of libraries raise whatever they stumble over in a damaged file.
        raise DamagedFile(f"{path.name} is damaged: {type(error).__name__}: {error}") from error


def _points(path: Path) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"] | None]:
    loaded = trimesh.load(path, process=False)
    points = torch.from_numpy(np.array(getattr(loaded, "vertices", np.zeros((0, 3))), dtype=np.float32))
    check_positions(tuple(points.shape))
    colors = getattr(loaded, "colors", None)
    if colors is None or len(colors) != len(points):
        return points, None
    return points, torch.from_numpy(np.array(colors, dtype=np.float32)[:, :3]) / 255


def _place(mesh: Mesh, radius: float, name: str) -> tuple[Mesh, Placement]:
    if not len(mesh.faces):
        raise ValueError(f"{name} holds no triangles")
    placement = _placement(mesh.vertices[mesh.faces.unique()], radius, name)
    return replace(mesh, vertices=(mesh.vertices - placement.middle) * placement.scale), placement


def _placement(points: Float[Tensor, "points 3"], radius: float, name: str) -> Placement:
    middle, reach = middle_and_reach(points)
    if not float(reach) > 0:
        raise ValueError(f"all points of {name} are at one place; there is no shape to import")
    return Placement(middle, radius / float(reach))
