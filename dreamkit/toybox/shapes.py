"""The building blocks of toy objects: solid primitives with a place, a turn and a role in the paint scheme.

Lengths are in toy units (an object is a few units tall and is scaled at the end), angles in degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One closed solid of an object."""

    solid: trimesh.Trimesh
    role: str
    '"body" takes the colour and pattern of the caption; any other role is a fixed colour of `paint.FIXED`.'


def ball(size: float | Vector, at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Ellipsoid with radii `size`."""
    radii = (size, size, size) if isinstance(size, int | float) else size
    solid = trimesh.creation.icosphere(subdivisions=2)
    return _place(solid, radii, turn, at, role)


def box(size: Vector, at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Cuboid with edge lengths `size`."""
    return _place(trimesh.creation.box(), size, turn, at, role)


def tube(radius: float, height: float, at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Cylinder along +Y, centred at `at`; a turn of 90 about x lays it along Z."""
    return turned([(0, -height / 2), (radius, -height / 2), (radius, height / 2), (0, height / 2)], at, role, turn)


def cone(radius: float, height: float, at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Cone with its base's centre at `at` and its tip `height` above; a turn of 90 about x points it to +Z."""
    return turned([(0, 0), (radius, 0), (0, height)], at, role, turn)


def ring(major: float, minor: float, at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Torus around the Y axis."""
    solid = trimesh.creation.torus(major, minor, major_sections=28, minor_sections=12)
    solid.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    return _place(solid, (1, 1, 1), turn, at, role)


def turned(profile: Sequence[tuple[float, float]], at: Vector, role: str = "body", turn: Vector = (0, 0, 0)) -> Part:
    """Solid of revolution about Y: `profile` lists (radius, height) from the bottom of the axis to its top."""
    solid = trimesh.creation.revolve(np.array(profile), sections=28)
    # trimesh revolves about Z.
    solid.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0)))
    return _place(solid, (1, 1, 1), turn, at, role)


def mirrored(*parts: Part) -> list[Part]:
    """The parts and their mirror images in the plane x = 0."""
    twins = []
    for part in parts:
        twin = part.solid.copy()
        twin.vertices = twin.vertices * (-1, 1, 1)
        twin.faces = twin.faces[:, ::-1]
        twins.append(Part(twin, part.role))
    return [*parts, *twins]


def _place(solid: trimesh.Trimesh, scale: Vector, turn: Vector, at: Vector, role: str) -> Part:
    angles = np.radians(turn)
    matrix = trimesh.transformations.euler_matrix(*angles) @ np.diag((*scale, 1.0))
    matrix[:3, 3] = at
    solid.apply_transform(matrix)
    if solid.volume < 0:
        solid.invert()
    return Part(solid, role)
