"""A toy of the small world as a radiance field: its own solid, its own paint, a soft border."""

from functools import cache

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from dreamkit.evaluate.metrics import occupancy
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.density import DensityMap
from dreamkit.representations.voxel_field import VoxelField
from dreamkit.toybox.captions import Subject, parse
from dreamkit.toybox.paint import COLORS, FIXED, patterned
from dreamkit.toybox.world import ToyObject, build

RESOLUTION = 112
THIN = -3.0
"Log-density from which a vertex needs a colour."
SOLID, BORDER = 40.0, 0.015
"Density inside, per scene unit, and the width over which it falls, in scene units."


@cache
def toy_scene(caption: str) -> Scene:
    """The toy that a caption describes, on a dense grid: the ground truth of the conversion tables."""
    subject: Subject = parse(caption)
    toy = build(subject.kind)
    scene = empty_scene(RESOLUTION)
    field = scene.shape
    assert isinstance(field, VoxelField)
    with torch.no_grad():
        density = _log_density(toy)
        field.grids[0].zero_()
        field.grids[0][:, 0] = density
        # Far from the surface nobody sees a colour.
        near = (density > THIN).nonzero().squeeze(-1)
        field.grids[0][near, 1:] = _raw_colors(toy, subject, field.vertices()[near])
    generator = torch.Generator().manual_seed(0)
    for _ in range(16):
        scene.update(1.0, 0, generator)
    return scene.eval()


def empty_scene(resolution: int = 2) -> Scene:
    """A scene of the truth's kind, for what must only have its size."""
    field = VoxelField(resolutions=(resolution,), density_map=DensityMap("trunc_exp", "none"))
    return Scene(field, renderer=VolumeRenderer(samples=96))


def _log_density(toy: ToyObject) -> torch.Tensor:
    one = torch.ones(3)
    # Middles of cells stand in for vertices: half a cell of shift in the truth is nobody's error.
    inside = occupancy(toy.mesh(), -one, one, RESOLUTION).numpy()
    cell = 2 / RESOLUTION
    signed = (distance_transform_edt(inside) - distance_transform_edt(~inside)) * cell
    return (SOLID * torch.sigmoid(torch.tensor(signed).float().flatten() / BORDER)).clamp_min(1e-4).log()


def _raw_colors(toy: ToyObject, subject: Subject, points: torch.Tensor) -> torch.Tensor:
    """The colour of the nearest face, as what a sigmoid makes it of."""
    corners = toy.vertices[toy.faces]
    weights = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(3), (24, len(corners)))).float()
    samples = (corners[None] * weights[..., None]).sum(dim=2).reshape(-1, 3)
    role = toy.role.repeat(24)
    albedo = torch.tensor([FIXED.get(name, (0.0, 0.0, 0.0)) for name in toy.roles])
    nearest = torch.from_numpy(KDTree(samples.numpy()).query(points.numpy())[1])
    painted = patterned(points, torch.tensor(COLORS[subject.look.color]), subject.look.pattern)
    body = role[nearest] == (toy.roles.index("body") if "body" in toy.roles else -1)
    return torch.where(body[:, None], painted, albedo[role[nearest]]).clamp(0.03, 0.97).logit()
