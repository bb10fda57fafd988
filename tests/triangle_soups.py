"""Triangles and cameras for the tests of the rasteriser's ops."""

from dataclasses import replace

import torch
from torch import Tensor

from dreamkit.cameras import Cameras, look_at, orbit
from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import grid_points, kuhn_tets, marching_tets


def turn(azimuth: list[float], elevation: float, distance: float, height: int, width: int) -> Cameras:
    """Float64 cameras: orbit works in the default type."""
    cameras = orbit(azimuth, elevation, distance, height=height, width=width)
    position = cameras.position.double()
    up = torch.tensor([0.0, 1.0, 0.0]).double().expand_as(position)
    return replace(cameras, pose=look_at(position, torch.zeros_like(position), up), fov=cameras.fov.double())


def views(height: int = 7, width: int = 9) -> Cameras:
    return turn([10.0, -35.0], 15.0, 2.5, height, width)


def front(height: int = 7, width: int = 9) -> Cameras:
    return turn([0.0, 0.0], 0.0, 2.5, height, width)


def in_single(cameras: Cameras) -> Cameras:
    return replace(cameras, pose=cameras.pose.float(), fov=cameras.fov.float())


def soup(generator: torch.Generator, faces: int = 12) -> tuple[Tensor, Tensor]:
    """A strip of triangles that overlap and share corners."""
    vertices = torch.rand(faces + 2, 3, generator=generator, dtype=torch.float64) * 2 - 1
    first = torch.arange(faces)
    return vertices.requires_grad_(), torch.stack([first, first + 1, first + 2], dim=1)


def ball(cells: int = 16) -> Mesh:
    """A sphere of radius 0.7 from marching tetrahedra, float64."""
    ones = torch.ones(3, dtype=torch.float64)
    points = grid_points(cells, -ones, ones)
    sdf = points.norm(dim=-1) - 0.7
    return Mesh(*marching_tets(points, sdf, kuhn_tets(cells, sdf < 0)))
