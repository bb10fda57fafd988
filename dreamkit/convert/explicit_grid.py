"""An explicit grid needs no gradient to know a teacher: it is set to what the teacher says at its vertices."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.convert.samples import seen_density, volume
from dreamkit.renderers.scene import Scene
from dreamkit.representations.voxel_field import VoxelField

EMPTY, FULL = -6.0, 7.0
"Log-densities between which a grid is filled."
CHUNK = 1 << 16
"Vertices asked at once."

Answer = tuple[Float[Tensor, " points"], Float[Tensor, "points channels"]]
"Densities, per scene unit, and raw channels."
Ask = Callable[[Float[Tensor, "points 3"]], Answer]
"What stands for a volume."


@torch.no_grad()
def fill(grid: VoxelField, ask: Ask) -> None:
    """Set the finest grid to the answers at its vertices, coarser ones to zero.

    Log-densities are limited to the range [-6, 7].
    """
    for coarse in grid.grids[:-1]:
        coarse.zero_()
    for rows, points in zip(grid.grids[-1].split(CHUNK), grid.vertices().split(CHUNK), strict=True):
        density, features = ask(points)
        rows[:, 0] = grid.density_map.raw(density.clamp(math.exp(EMPTY), math.exp(FULL)), points)
        rows[:, 1:] = features


def answers(scene: Scene) -> Ask:
    """What a scene's volume says; zeros for the features of empty space, which some kinds are slow to make up."""
    shape, seen = volume(scene), seen_density(scene)

    def ask(points: Float[Tensor, "points 3"]) -> Answer:
        density = seen(points)
        features = points.new_zeros(len(points), shape.channels)
        there = (density > math.exp(EMPTY)).nonzero().squeeze(-1)
        features[there] = shape.features(points[there])
        return density, features

    return ask
