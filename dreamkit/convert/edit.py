"""Editing by hand: on an explicit grid space is just numbers, so cut, copy and paste them, then convert to any kind.

Convert the scene to a VoxelField of one resolution, edit that in place, and distil it onwards with a lower `limits.low`
than usual (`EDITED`): `exp(-2)` per scene unit would stay as fog where something was erased (card 1.8).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.convert.matching import DensityRange
from dreamkit.representations.base import AbstractVolume
from dreamkit.representations.voxel_field import VoxelField

EMPTY = -100.0
"Log-density of erased space."
EDITED = DensityRange(-8.0, 7.0)
"What a converter should compare after an edit: from nothing, in effect, upwards."


@dataclass(frozen=True)
class Box:
    """An axis-aligned box, in scene units. Raises ValueError unless it has a volume."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a box needs low < high along each axis; got low={self.low}, high={self.high}")

    def contains(self, points: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
        """Which points are inside or on it."""
        low, high = points.new_tensor(self.low), points.new_tensor(self.high)
        return ((points >= low) & (points <= high)).all(dim=-1)

    def shifted(self, by: tuple[float, float, float]) -> "Box":
        """The box elsewhere."""
        low, high = (tuple(a + b for a, b in zip(end, by, strict=True)) for end in (self.low, self.high))
        return Box(low, high)  # pyright: ignore[reportArgumentType]


def erase(grid: VoxelField, box: Box) -> None:
    """Leave nothing in the box."""
    _empty(grid, box.contains(grid.vertices()))


def crop(grid: VoxelField, box: Box) -> None:
    """Leave nothing outside the box."""
    _empty(grid, ~box.contains(grid.vertices()))


@torch.no_grad()
def duplicate(grid: VoxelField, box: Box, shift: tuple[float, float, float]) -> None:
    """Copy what is in the box to the place `shift` (scene units) from it; where both places hold something, the denser
    one stays."""
    vertices = grid.vertices()
    there = box.shifted(shift).contains(vertices).nonzero().squeeze(-1)
    origin = vertices[there] - vertices.new_tensor(shift)
    _paste(grid, there, grid.density(origin), grid.features(origin))


@torch.no_grad()
def composite(grid: VoxelField, other: AbstractVolume) -> None:
    """Put another volume into the same space; at each vertex the denser one stays.

    Channels are copied as they are: both must be meant for one material. Raises ValueError for other channels.
    """
    if other.channels != grid.channels:
        raise ValueError(f"one material reads both: expected {grid.channels} channels, got {other.channels}")
    vertices = grid.vertices()
    _paste(grid, torch.arange(len(vertices)), other.density(vertices), other.features(vertices))


@torch.no_grad()
def _empty(grid: VoxelField, chosen: Bool[Tensor, " vertices"]) -> None:
    values, vertices = _values(grid), grid.vertices()
    values[chosen, 0] = EMPTY - grid.density_map.bias(vertices[chosen])


def _paste(
    grid: VoxelField, where: Tensor, density: Float[Tensor, " pasted"], features: Float[Tensor, "pasted channels"]
) -> None:
    values, vertices = _values(grid), grid.vertices()[where]
    denser = density > grid.density(vertices)
    chosen = where[denser]
    values[chosen, 0] = grid.density_map.raw(density[denser], vertices[denser])
    values[chosen, 1:] = features[denser]


def _values(grid: VoxelField) -> Tensor:
    if len(grid.resolutions) != 1:
        raise ValueError(
            f"only a grid of one resolution can be edited by hand; this one sums {len(grid.resolutions)}. "
            "Convert it first: convert(scene, 'voxel', {'resolutions': (96,)})"
        )
    return grid.grids[0]
