"""The density at which to cut a volume, so that its surface is as large as its pictures."""

import math

import torch

from dreamkit.cameras import Cameras
from dreamkit.convert.fidelity import judging_cameras
from dreamkit.convert.isosurface import EmptySurface, sample_density, surface_at
from dreamkit.convert.samples import seen_density
from dreamkit.ops.rasterize import rasterize
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractVolume

CELLS = 64
"Cells along the cube's edge in which surfaces are tried."
ROUNDS = 8
"Halvings of the logarithm's range: a level is found to a few per cent."


@torch.no_grad()
def half_opaque_level(scene: Scene, cameras: Cameras | None = None) -> float:
    """The level whose silhouettes cover as many pixels, over all views, as are more than half opaque in the renders.

    Silhouettes shrink as the level rises, so its logarithm is bisected, from a thousandth of the largest density to all
    of it. A fixed density would be empty for a young, foggy field, and fat for a sharp one. Per scene unit. Unlike the
    level whose painted mesh looks best (`find_level`), this one keeps thin parts, so it is for surfaces that are fitted
    further: a mug's handle came apart at the other level.
    Raises TypeError for shapes that are no volume, EmptySurface where nothing is more than half opaque.
    """
    if not isinstance(scene.shape, AbstractVolume):
        raise TypeError(f"only volumes have a density; got {type(scene.shape).__name__}")
    cameras = judging_cameras(distance=2.5 * scene.shape.radius) if cameras is None else cameras
    wanted = int((scene.render(cameras).alpha > 0.5).sum())
    if not wanted:
        raise EmptySurface("nothing in the scene is more than half opaque: train longer, or raise the opacity weight")
    half = torch.full((3,), float(scene.shape.radius))
    grid = sample_density(seen_density(scene), -half, half, CELLS)
    if not float(grid.values.max()) > 0:
        raise EmptySurface(f"the shape is thinner than a cell of {2 * scene.shape.radius / CELLS:.3g}; give a `level`")
    highest = math.log(float(grid.values.max()))
    low, high = highest - math.log(1000), highest - 1e-3
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        mesh = surface_at(grid, math.exp(middle))
        covered = int((rasterize(mesh.vertices, mesh.faces, cameras).triangle >= 0).sum())
        low, high = (middle, high) if covered > wanted else (low, middle)
    return math.exp((low + high) / 2)
