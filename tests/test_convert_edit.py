"""Cutting, copying and pasting on grids, fused teachers, and what is left of an erased box after distillation."""

import pytest
import torch
from analytic_fields import Ball
from field_kinds import small_field

from dreamkit.cameras import Cameras, look_at
from dreamkit.convert.edit import EDITED, Box, composite, crop, duplicate, erase
from dreamkit.convert.explicit_grid import answers, fill
from dreamkit.convert.fusion import FusedField, Placement
from dreamkit.convert.inherit import inherit, inherit_occupancy
from dreamkit.convert.pvd import PVD
from dreamkit.convert.samples import seen_density
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.density import DensityMap
from dreamkit.representations.voxel_field import VoxelField

HALF = Box((0.0, -1.0, -1.0), (1.0, 1.0, 1.0))
"The right half of the cube."


def ball_grid(resolution: int = 33) -> VoxelField:
    """A ball of radius 0.5, copied onto a grid."""
    grid = VoxelField(resolutions=(resolution,), density_map=DensityMap("trunc_exp", "none"))
    fill(grid, answers(Scene(Ball(0.5, 20.0, 0.03), renderer=VolumeRenderer())))
    return grid


@pytest.mark.parametrize("map_", [DensityMap("trunc_exp", "none"), DensityMap(), DensityMap("softplus", "dreamfusion")])
def test_a_filled_grid_is_the_volume_at_its_vertices(map_):
    grid, ball = VoxelField(resolutions=(9, 17), density_map=map_), Ball(0.5, 20.0, 0.1)
    fill(grid, answers(Scene(ball, renderer=VolumeRenderer())))
    points = grid.vertices()
    # Measured: 4e-6 relative, above the floor exp(-6); the channels are equal where something is.
    assert torch.allclose(grid.density(points), ball.density(points).clamp_min(2.4788e-3), rtol=1e-3)
    there = ball.density(points) > 2.4788e-3
    assert torch.allclose(grid.features(points)[there], ball.features(points)[there], atol=1e-5)
    assert not grid.features(points)[~there].any()


def test_a_grid_of_another_size_starts_as_a_copy_of_the_teachers():
    teacher, student = ball_grid(33), ball_grid(17)
    erase(Scene(student), HALF)
    inherit(Scene(teacher), Scene(student))
    points = student.vertices()
    # Every second vertex of the teacher's. Measured: 5e-7 relative.
    assert torch.allclose(student.density(points), teacher.density(points), rtol=1e-3)


def test_erase_and_crop_are_complements(generator):
    points = (torch.rand(500, 3, generator=generator) * 2 - 1) * 0.45
    # Cells that straddle the cut interpolate.
    points = points[points[:, 0].abs() > 2 / 32]
    whole, left, right = ball_grid(), ball_grid(), ball_grid()
    erase(Scene(left), HALF)
    crop(Scene(right), HALF)
    assert left.density(points)[points[:, 0] > 0].max() < 1e-30
    assert right.density(points)[points[:, 0] < 0].max() < 1e-30
    assert torch.allclose(left.density(points) + right.density(points), whole.density(points))
    assert torch.equal(left.features(points), whole.features(points))


def test_duplicate_copies_density_and_color_to_another_place():
    grid, shift = ball_grid(), (0.0, 0.5, 0.0)
    duplicate(Scene(grid), Box((-0.25, -0.25, -0.25), (0.25, 0.25, 0.25)), shift)
    point = torch.tensor([[0.0, 0.125, 0.0]])
    assert torch.allclose(grid.density(point + torch.tensor(shift)), grid.density(point), rtol=1e-4)
    assert torch.allclose(grid.features(point + torch.tensor(shift)), grid.features(point), atol=1e-4)


def test_what_is_pasted_is_seen_and_converted_on(generator):
    """PVD closes the cells that are empty; a copy pasted there was invisible, and lost by the next conversion."""
    grid = VoxelField(resolutions=(33,), density_map=DensityMap("trunc_exp", "none"))
    student = Scene(grid, renderer=VolumeRenderer(48))
    inherit(Scene(ball_grid()), student)
    inherit_occupancy(Scene(Ball(0.3, 20.0, 0.03), renderer=VolumeRenderer(48)), student, generator)
    duplicate(student, Box((-0.25, -0.25, -0.25), (0.25, 0.25, 0.25)), (0.0, 0.7, 0.0))
    place = torch.tensor([[0.0, 0.7, 0.0]])
    assert torch.equal(seen_density(student)(place), grid.density(place))
    assert grid.density(place) > 10
    with pytest.raises(TypeError, match="only a VoxelField"):
        erase(Scene(Ball(0.3, 20.0, 0.03)), HALF)


def test_nothing_is_pasted_from_beyond_another_volumes_cube():
    """A field answers for its surface there, and would smear."""
    grid = VoxelField(radius=2.0, resolutions=(17,), density_map=DensityMap("trunc_exp", "none"))
    erase(Scene(grid), Box((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)))
    composite(Scene(grid), Ball(5.0, 20.0, 0.03))
    assert grid.density(torch.tensor([[0.5, 0.5, 0.5]])) > 10
    assert grid.density(torch.tensor([[1.9, 1.9, 1.9]])) < 1e-6


def test_composite_keeps_the_denser_and_refuses_other_channels():
    grid = ball_grid()
    other = Ball(0.2, 60.0, 0.01)
    composite(Scene(grid), other)
    points = grid.vertices()
    assert torch.allclose(
        grid.density(points), torch.maximum(ball_grid().density(points), other.density(points)), rtol=1e-3
    )
    with pytest.raises(ValueError, match="expected 3 channels, got 2"):
        composite(Scene(grid), VoxelField(resolutions=(3,), channels=2))


def test_only_single_grids_can_be_edited_and_boxes_have_a_volume():
    with pytest.raises(ValueError, match="sums 2"):
        erase(Scene(VoxelField(resolutions=(3, 5))), HALF)
    with pytest.raises(ValueError, match="low < high"):
        Box((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))


@pytest.mark.parametrize("kind", ["hash", "mlp", "voxel", "vm", "cp", "triplane", "sdf"])
def test_t1_5_an_erased_box_is_empty_in_every_kind(kind):
    grid = ball_grid()
    erase(Scene(grid), HALF)
    teacher = Scene(grid, renderer=VolumeRenderer(samples=48))
    student = Scene(small_field(kind, flat=True), renderer=VolumeRenderer(samples=48))
    for _ in PVD(steps=25, rays=256, size=32, judged=8, limits=EDITED).convert(teacher, student):
        pass
    # Parallel to the cut, two cells of the occupancy grid inside the erased half: these rays cross the box only.
    eyes = torch.tensor([[0.2, 0.0, 2.5], [0.3, 2.5, 0.01], [0.4, 0.0, -2.5]])
    ahead = torch.tensor([[0.2, 0.0, 0.0], [0.3, 0.0, 0.0], [0.4, 0.0, 0.0]])
    up = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, 3)
    cameras = Cameras(look_at(eyes, ahead, up), torch.full((3,), 3.0), 8, 8)
    with torch.no_grad():
        alpha = student.render(cameras).alpha
    # Measured: 0 for every kind, since rays skip what is empty in the teacher.
    assert alpha.mean() < 0.01


def test_fused_scenes_keep_opacity_and_mix_colors(generator):
    ball = Scene(Ball(0.5, 20.0, 0.0), renderer=VolumeRenderer(samples=64))
    place = Placement(0.5, 90.0, (0.3, 0.0, 0.0))
    fused = FusedField([(ball, place)])
    inside, outside = torch.tensor([[0.3, 0.1, 0.0]]), torch.tensor([[-0.1, 0.0, 0.0]])
    # Half as long a way at twice the density.
    assert fused.density(inside).item() == pytest.approx(40.0)
    assert fused.density(outside).item() == 0.0
    # (0.3, 0.1, 0) is (0, 0.2, 0) in the ball's own frame.
    own = ball.material.base_color(ball.shape.features(torch.tensor([[0.0, 0.2, 0.0]])))
    assert torch.allclose(torch.sigmoid(fused.features(inside)), own, atol=1e-5)
    both = FusedField([(ball, Placement()), (ball, Placement())])
    points = (torch.rand(20, 3, generator=generator) * 2 - 1) * 0.25
    assert torch.allclose(both.density(points), torch.full((20,), 40.0))
    assert torch.allclose(both.features(points), ball.shape.features(points), atol=1e-4)


def test_a_turn_is_about_the_vertical_axis_counter_clockwise_from_above():
    place = Placement(turn=90.0)
    # What stood at the front (+Z) stands at +X: azimuth 90.
    assert torch.allclose(place.inverse(torch.tensor([[1.0, 0.0, 0.0]])), torch.tensor([[0.0, 0.0, 1.0]]), atol=1e-6)


def test_a_fused_teacher_can_be_distilled():
    parts = [(Scene(Ball(0.5, 20.0, 0.03)), Placement(0.5, shift=(x, 0.0, 0.0))) for x in (-0.4, 0.4)]
    teacher = Scene(FusedField(parts), renderer=VolumeRenderer(samples=48))
    student = Scene(VoxelField(resolutions=(48,), density_map=DensityMap("trunc_exp", "none")),
                    renderer=VolumeRenderer(samples=48))  # fmt: skip
    steps = PVD(steps=5, rays=128, size=16, judged=24).convert(teacher, student)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            report = stop.value
            break
    assert report.median_psnr > 25
