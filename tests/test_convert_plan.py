"""Routes between kinds, and the one call that takes them."""

import pytest
import torch
from analytic_fields import Ball

from dreamkit.construct import RecipeError
from dreamkit.convert.plan import find_route, kind, kinds
from dreamkit.convert.pvd import PVD
from dreamkit.convert.pvd_al import PvdAl
from dreamkit.convert.run import Converted, convert
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.base import AbstractField
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.voxel_field import VoxelField

FIELDS = [cls for cls in kinds().values() if issubclass(cls, AbstractField)]


def finish(steps) -> Converted:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize("source", FIELDS)
@pytest.mark.parametrize("target", FIELDS)
def test_every_field_is_one_step_from_every_field(source, target):
    (hop,) = find_route(source, target)
    assert hop.converter is PVD
    assert hop.target is target
    (hop,) = find_route(source, target, PvdAl)
    assert hop.converter is PvdAl


def test_kinds_have_short_names_and_typing_errors_are_explained():
    assert kind("voxel") is kind("voxel_field") is VoxelField
    with pytest.raises(ValueError, match="did you mean 'voxel_field'"):
        kind("voxl")


def test_convert_makes_the_kind_with_its_options_and_reports():
    teacher = Scene(Ball(0.5, 20.0, 0.03), renderer=VolumeRenderer(samples=32))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    options = {"resolutions": (12,)}
    result = finish(convert(teacher, "voxel", options, by=PVD(steps=5, rays=64, size=16, judged=8), seed=1))
    assert isinstance(result.scene.shape, VoxelField)
    assert result.scene.shape.resolutions == (12,)
    assert result.route == ("ball", "voxel_field") or result.route[-1] == "voxel_field"
    assert len(result.reports) == 1
    assert len(result.reports[0].psnr) == 10
    after = teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_unknown_options_are_refused():
    teacher = Scene(HashField())
    with pytest.raises(RecipeError, match="resolution"):
        next(convert(teacher, "hash", {"resolution": 3}))
