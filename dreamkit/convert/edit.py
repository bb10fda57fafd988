"""Editing by hand: on an explicit grid space is just numbers, so cut, copy and paste them, then convert to any kind.

Convert the scene to a VoxelField of one resolution, edit that in place, and distil it onwards with a lower `limits.low`
than usual (`EDITED`): `exp(-2)` per scene unit would stay as fog where something was erased (card 1.8). An edit opens
the cells that the scene's rays had learnt to skip, or what is pasted there would not be seen. All raise TypeError for
scenes of other kinds, ValueError for grids of several resolutions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.convert.matching import DensityRange
from dreamkit.convert.samples import volume_renderer
from dreamkit.renderers.scene import Scene
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


def erase(scene: Scene, box: Box) -> None:
    """Leave nothing in the box."""
    grid = _opened(scene)
    _empty(grid, box.contains(grid.vertices()))


def crop(scene: Scene, box: Box) -> None:
    """Leave nothing outside the box."""
    grid = _opened(scene)
    _empty(grid, ~box.contains(grid.vertices()))


@torch.no_grad()
def duplicate(scene: Scene, box: Box, shift: tuple[float, float, float]) -> None:
    """Copy what is in the box to the place `shift` (scene units) from it; where both places hold something, the denser
    one stays."""
    grid = _opened(scene)
    vertices = grid.vertices()
    there = box.shifted(shift).contains(vertices).nonzero().squeeze(-1)
    origin = vertices[there] - vertices.new_tensor(shift)
    _paste(grid, there, grid.density(origin), grid.features(origin))


@torch.no_grad()
def composite(scene: Scene, other: AbstractVolume) -> None:
    """Put another volume into the same space; at each vertex the denser one stays.

    Channels are copied as they are: both must be meant for one material. Raises ValueError for other channels.
    """
    grid = _opened(scene)
    if other.channels != grid.channels:
        raise ValueError(f"one material reads both: expected {grid.channels} channels, got {other.channels}")
    vertices = grid.vertices()
    # A field beyond its own cube answers for the cube's surface.
    where = (vertices.abs() <= other.radius).all(dim=-1).nonzero().squeeze(-1)
    _paste(grid, where, other.density(vertices[where]), other.features(vertices[where]))


def _opened(scene: Scene) -> VoxelField:
    if not isinstance(scene.shape, VoxelField):
        raise TypeError(f"only a VoxelField is edited by hand; got {type(scene.shape).__name__}. Convert it first")
    volume_renderer(scene).occupancy.open()
    return scene.shape


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
