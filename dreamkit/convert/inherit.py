"""What a student takes over from its teacher before the first step: parameters of one meaning, and what is empty."""

import torch

from dreamkit.convert.explicit_grid import answers, fill
from dreamkit.convert.samples import seen_density, volume_renderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField, AbstractShape
from dreamkit.representations.voxel_field import VoxelField

PROBES = 16
"Random points that each cell of an inherited occupancy grid is asked at."


def inherit(teacher: Scene, student: Scene) -> None:
    """Copy what means the same in both: everything between equal kinds of one size, the decoder between others.

    A voxel grid is filled with what the teacher says at its vertices. The same name in two kinds of field does not mean
    the same (the lines of VM and CP), so names alone are not trusted, as they are in PVD's code (card 1.6).
    """
    mine, theirs = student.shape, teacher.shape
    given, taken = theirs.state_dict(), mine.state_dict()
    if _is_alike(mine, theirs):
        names = list(taken)
    elif isinstance(mine, VoxelField):
        return fill(mine, answers(teacher))
    elif _has_latent(mine) and _has_latent(theirs):
        names = [name for name in taken if name.startswith("feature_head.")]
    else:
        names = []
    fitting = {name: given[name] for name in names if name in given and given[name].shape == taken[name].shape}
    mine.load_state_dict({**taken, **fitting})


@torch.no_grad()
def inherit_occupancy(teacher: Scene, student: Scene, generator: torch.Generator) -> None:
    """Let the student's renderer skip what is empty in the teacher, for good (card 1.3)."""
    density, renderer = seen_density(teacher), volume_renderer(student)
    grid, radius = renderer.occupancy, student.shape.radius
    grid.value.zero_()
    for _ in range(PROBES):
        grid.update(density, radius, renderer.step_length(radius), 0, generator)


def _is_alike(mine: AbstractShape, theirs: AbstractShape) -> bool:
    if type(mine) is not type(theirs) or mine.radius != theirs.radius:
        return False
    if getattr(mine, "density_map", None) != getattr(theirs, "density_map", None):
        return False
    given = theirs.state_dict()
    return all(name in given and given[name].shape == value.shape for name, value in mine.state_dict().items())


def _has_latent(shape: AbstractShape) -> bool:
    if not isinstance(shape, AbstractField):
        return False
    parameter = next(shape.parameters(), torch.zeros(()))
    return shape.latent(shape.encode(parameter.new_zeros(1, 3))) is not None
