"""The occupancy grid."""

import pytest
import torch

from dreamkit.renderers.occupancy import OccupancyGrid


def ball(points: torch.Tensor) -> torch.Tensor:
    return 10.0 * (points.norm(dim=-1) < 0.5)


def nothing(points: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(points))


def centres(grid: int) -> torch.Tensor:
    axis = (torch.arange(grid) + 0.5) / grid * 2 - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def test_every_cell_is_occupied_before_the_first_update():
    assert OccupancyGrid(8).mask.all()


def test_the_mask_follows_the_density(generator):
    grid = OccupancyGrid(16)
    grid.update(ball, 1.0, 0.05, 0, generator)
    distance, diagonal = centres(16).norm(dim=-1), 3**0.5 / 16
    assert grid.mask[distance < 0.5 - diagonal].all()
    assert not grid.mask[distance > 0.5 + diagonal].any()


def test_cells_are_indexed_x_y_z(generator):
    grid = OccupancyGrid(8)
    grid.update(lambda points: 10.0 * (points[:, 0] > 0.5) * (points[:, 1] < 0), 1.0, 0.05, 0, generator)
    assert grid.mask[6:, :4].all()
    assert not grid.mask[:6].any()
    assert not grid.mask[:, 4:].any()


def test_an_empty_field_leaves_every_cell_occupied(generator):
    grid = OccupancyGrid(8)
    grid.update(nothing, 1.0, 0.05, 0, generator)
    assert grid.mask.all()


def test_values_decay_where_density_is_gone(generator):
    grid = OccupancyGrid(8, every=1, warmup=100)
    grid.update(lambda points: torch.full((len(points),), 2.0), 1.0, 0.5, 0, generator)
    assert grid.value.eq(1).all()
    for step in (1, 2):
        grid.update(nothing, 1.0, 0.5, step, generator)
    # Worst measured: 0.
    assert torch.allclose(grid.value, torch.full((512,), 0.95**2), atol=1e-6)


def test_a_cell_that_is_drawn_often_decays_once_a_step(generator):
    grid = OccupancyGrid(2, every=1, warmup=0)
    grid.value.fill_(1.0)
    for step in range(1, 4):
        before = grid.value.clone()
        grid.update(nothing, 1.0, 0.5, step, generator)
        ratio = grid.value / before
        assert ((ratio - 0.95).abs().minimum((ratio - 1).abs()) < 1e-6).all()
        assert (ratio < 0.96).any()


def test_after_warmup_at_most_half_of_the_cells_are_asked(generator):
    asked = []
    grid = OccupancyGrid(16, every=1, warmup=1)

    def counting(points: torch.Tensor) -> torch.Tensor:
        asked.append(len(points))
        return ball(points)

    for step in range(3):
        grid.update(counting, 1.0, 0.05, step, generator)
    assert asked[0] == 16**3
    assert all(16**3 // 4 < count <= 16**3 // 2 for count in asked[1:])


def test_steps_between_updates_change_nothing_and_draw_nothing(generator):
    grid = OccupancyGrid(8, every=4)
    state = generator.get_state()
    for step in (1, 2, 3, 5):
        grid.update(ball, 1.0, 0.05, step, generator)
    assert grid.mask.all()
    assert torch.equal(generator.get_state(), state)


def test_updates_are_deterministic_and_resume_from_the_state():
    def run(grid: OccupancyGrid, generator: torch.Generator, steps: range) -> None:
        for step in steps:
            grid.update(ball, 1.0, 0.05, step, generator)

    through, first, second = (OccupancyGrid(8, every=1, warmup=2) for _ in range(3))
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    run(through, generators[0], range(6))
    run(first, generators[1], range(3))
    second.load_state_dict(first.state_dict())
    run(second, generators[1], range(3, 6))
    assert torch.equal(through.value, second.value)
    assert torch.equal(through.mask, second.mask)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="grid >= 1"):
        OccupancyGrid(0)
