"""Environment maps: where directions land, and what texels weigh."""

import math

import pytest
import torch

from dreamkit.materials.environment import look_up, resized, texel_areas, texel_directions, turned
from dreamkit.vectors import normalize


def test_texels_cover_the_sphere():
    # Float32 sums; worst measured 5e-7.
    assert float(texel_areas(32).sum() * 64) == pytest.approx(4 * math.pi, rel=1e-6)


def test_axes_land_where_the_convention_says():
    """+X in the middle, +Z a quarter to the right, -Z a quarter to the left, +Y on top."""
    chart = torch.zeros(1, 2, 8, 2)
    chart[0, :, :, 0] = torch.arange(8)
    chart[0, 1, :, 1] = 1
    axes = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0]])
    found = look_up(chart, torch.zeros(5, dtype=torch.long), axes)
    assert found[:3, 0].tolist() == pytest.approx([3.5, 5.5, 1.5], abs=1e-5)
    assert found[3:, 1].tolist() == [0.0, 1.0]


def test_a_texel_is_found_in_its_own_direction(generator):
    chart = torch.rand(3, 6, 12, 2, generator=generator)
    which = torch.arange(3)[:, None, None].expand(3, 6, 12)
    found = look_up(chart, which, texel_directions(6).expand(3, -1, -1, -1))
    # Through acos and atan2 in float32; worst measured 4e-6.
    assert (found - chart).abs().max() < 3e-5


def test_columns_wrap_around():
    chart = torch.zeros(1, 2, 4, 1)
    chart[0, :, 0] = 1
    west = torch.tensor([[-1.0, 0, 0.0], [-1.0, 0, -1e-4], [-1.0, 0, 1e-4]])
    # -X is the seam: half of the first column, half of the last.
    assert look_up(chart, torch.zeros(3, dtype=torch.long), normalize(west)).flatten().tolist() == pytest.approx(
        [0.5] * 3, abs=1e-3
    )


def test_turning_by_90_brings_what_was_at_z_to_x():
    """A positive turn carries the world from +Z (azimuth 0) to +X (azimuth 90), as cameras orbit."""
    chart = torch.zeros(1, 4, 8, 1)
    chart[0, :, 5:7] = 1
    found = look_up(chart, torch.zeros(1, dtype=torch.long), turned(torch.tensor([[1.0, 0, 0]]), torch.tensor([90.0])))
    assert found.item() == pytest.approx(1, abs=1e-5)


def test_gradients_are_finite_at_the_poles():
    directions = torch.tensor([[0.0, 1, 0], [0, -1, 0]], requires_grad=True)
    look_up(torch.rand(1, 4, 8, 3), torch.zeros(2, dtype=torch.long), directions).sum().backward()
    assert directions.grad.isfinite().all()


def test_resizing_keeps_the_mean_of_each_block(generator):
    chart = torch.rand(8, 16, 3, generator=generator)
    assert torch.allclose(resized(chart, 4)[1, 2], chart[2:4, 4:6].mean(dim=(0, 1)))
    assert resized(chart, 16).shape == (16, 32, 3)
    assert resized(chart, 8) is chart
