"""The cameras and the scoring of T3Bench, on any mesh: 162 directions, five focal lengths, regional convolution.

Source: T3Bench, arXiv 2310.02977, section 3.1, and its released evaluation: one radius of 2.2 and five fields of view.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, look_at
from dreamkit.export.atomic import write_atomically
from dreamkit.export.png import encode_png
from dreamkit.mesh import Mesh
from dreamkit.renderers.surface import render_surface
from dreamkit.rendering import Step

RADIUS = 2.2
"Distance of every camera from the middle of a mesh whose largest coordinate is 1."
FOVS = (60.0, 45.0, 36.0, 30.0, 24.0)
"Vertical fields of view in degrees: from the whole asset to a part of it."
_ROUNDS = 3


@cache
def icosphere() -> trimesh.Trimesh:
    """An icosahedron that is divided twice: 162 vertices on the unit sphere."""
    return trimesh.creation.icosphere(subdivisions=2)


def t3bench_cameras(fov: float, size: int = 512) -> Cameras:
    """162 cameras around the origin that look inwards; up is +Y (T3Bench's own meshes have +Z up)."""
    position = RADIUS * torch.tensor(icosphere().vertices, dtype=torch.float32)
    up = torch.tensor([[0.0, 1.0, 0.0]]).expand_as(position)
    pose = look_at(position, torch.zeros_like(position), up)
    return Cameras(pose, torch.full((len(pose),), fov), size, size)


def t3bench_pose(mesh: Mesh) -> Mesh:
    """The mesh about the mean of its vertices, its largest coordinate 1, shown without light as T3Bench does."""
    centred = mesh.vertices - mesh.vertices.mean(dim=0)
    return replace(mesh, vertices=centred / centred.abs().max().clamp_min(1e-12), unlit=True)


def t3bench_views(mesh: Mesh, size: int = 512) -> Iterator[tuple[int, int, Float[Tensor, "height width 3"]]]:
    """All 810 views as (direction, focal length, image), black behind the asset; one at a time, as they are large."""
    posed, black = t3bench_pose(mesh), torch.zeros(3)
    for focal, fov in enumerate(FOVS):
        cameras = t3bench_cameras(fov, size)
        for direction in range(len(cameras)):
            yield direction, focal, render_surface(posed, cameras[[direction]], black).color[0]


def write_views(mesh: Mesh, folder: Path, size: int = 512) -> Iterator[Step]:
    """Write the views as `DIRECTION_FOCAL.png`, named as T3Bench's own scorers expect them."""
    total = len(icosphere().vertices) * len(FOVS)
    for done, (direction, focal, image) in enumerate(t3bench_views(mesh, size), start=1):
        write_atomically(folder / f"{direction:03d}_{focal}.png", encode_png(image))
        yield Step(done, total, 0.0, stage="views")


def regional_quality(scores: Float[Tensor, "directions focals"]) -> float:
    """T3Bench's quality of an asset from the scores of its views, in the unit of the scores.

    The best focal length of each direction; then three times the mean of a direction and its neighbours,
    `s_i <- (s_i + sum_j s_j) / (1 + |N(i)|)`; then the largest. T3Bench reports `20 q + 50` of ImageReward's scores.
    """
    smooth = scores.amax(dim=1)
    neighbours = icosphere().vertex_neighbors
    if len(smooth) != len(neighbours):
        raise ValueError(f"expected scores of {len(neighbours)} directions; got {len(smooth)}")
    for _ in range(_ROUNDS):
        smooth = torch.stack([smooth[[i, *around]].mean() for i, around in enumerate(neighbours)])
    return float(smooth.max())
