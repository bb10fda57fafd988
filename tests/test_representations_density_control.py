"""Density control: who grows, who is pruned, and how an optimiser and a checkpoint follow."""

import math

import pytest
import torch

from dreamkit.rendering import Rendering, SplatStatistics
from dreamkit.representations.base import Rearrangement
from dreamkit.representations.density_control import DensityControl, History
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.representations.gaussians import Gaussians
from dreamkit.training.rearrange import rearrange


def cloud(count: int = 6, deviation: float = 0.05, opacity: float = 0.5) -> GaussianCloud:
    positions = torch.linspace(-0.5, 0.5, count)[:, None].expand(count, 3).clone()
    scales, rotations = torch.full((count, 3), math.log(deviation)), torch.tensor([1.0, 0, 0, 0]).repeat(count, 1)
    colors = torch.arange(count, dtype=torch.float32)[:, None, None].expand(count, 1, 3).clone()
    return GaussianCloud(positions, scales, rotations, torch.full((count,), opacity).logit(), colors)


def seen(gradient: list[float] | list[int], views: float = 1.0) -> History:
    values = torch.tensor(gradient, dtype=torch.float32)
    return History(values, torch.full_like(values, views), torch.zeros_like(values))


def grow(control: DensityControl, gaussians: GaussianCloud, history: History, generator: torch.Generator):
    grown = control.grown(gaussians, history, 1.0, control.every, 0.1, generator)
    assert grown is not None
    return grown


def test_small_ones_are_cloned_and_large_ones_split(generator: torch.Generator) -> None:
    gaussians, history = cloud(), seen([0, 9, 0, 0, 9, 0])
    cloned = grow(DensityControl(gradient=1, small=0.1), gaussians, history, generator)
    assert cloned.rows.tolist() == [0, 1, 2, 3, 4, 5, -1, -1]
    assert torch.equal(cloned.cloud.positions[6:], gaussians.positions[[1, 4]])
    split = grow(DensityControl(gradient=1, small=0.01), gaussians, history, generator)
    assert split.rows.tolist() == [0, 2, 3, 5, -1, -1, -1, -1]
    assert split.cloud.colors[4:, 0, 0].tolist() == [1, 4, 1, 4]
    torch.testing.assert_close(split.cloud.scales[4:].exp(), torch.full((4, 3), 0.05 / 1.6))
    assert not torch.equal(split.cloud.positions[4], split.cloud.positions[6])


def test_children_are_drawn_from_their_parent(generator: torch.Generator) -> None:
    gaussians = cloud(2, 0.05)
    many = gaussians[torch.zeros(4000, dtype=torch.long)]
    grown = grow(DensityControl(gradient=1), many, seen([9.0] * 4000), generator)
    offset = grown.cloud.positions - gaussians.positions[0]
    # 8000 draws: the deviation of the sample deviation is 0.4 %.
    torch.testing.assert_close(offset.std(dim=0), torch.full((3,), 0.05), rtol=0.03, atol=0)


def test_the_share_and_the_most_bound_growth_to_the_largest_gradients(generator: torch.Generator) -> None:
    history = seen([5, 9, 6, 7, 8, 4])
    few = grow(DensityControl(gradient=1, small=1, share=0.34), cloud(), history, generator)
    assert few.cloud.colors[6:, 0, 0].tolist() == [1, 4]
    capped = grow(DensityControl(gradient=1, small=1, most=7), cloud(), history, generator)
    assert capped.cloud.colors[6:, 0, 0].tolist() == [1]


def test_faint_large_wide_and_stray_ones_are_pruned(generator: torch.Generator) -> None:
    gaussians = cloud()
    gaussians.opacities[0] = -9
    gaussians.scales[1, 2] = 0
    gaussians.positions[2, 1] = 1.5
    history = seen([0.0] * 6)
    history.radius[3] = 0.9
    pruned = grow(DensityControl(wide=0.5), gaussians, history, generator)
    assert pruned.rows.tolist() == [4, 5]


def test_it_acts_only_when_it_is_time(generator: torch.Generator) -> None:
    control = DensityControl(every=10, begin=0.2, finish=0.6)
    when = [(step, progress) for step in (10, 15) for progress in (0.1, 0.3, 0.7)]
    assert [control.acts(step, progress) for step, progress in when] == [False, True, False, False, False, False]
    assert control.grown(cloud(), seen([9.0] * 6), 1.0, 15, 0.3, generator) is None


def test_gradients_are_counted_in_half_pictures_over_the_views_that_saw_it() -> None:
    centre = torch.zeros(2, 2, 2, requires_grad=True)
    centre.grad = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 1.0], [7.0, 7.0]]])
    radius = torch.tensor([[5.0, 2.0], [10.0, 0.0]])
    history = History.empty(2, torch.device("cpu"))
    history = history.after(SplatStatistics(centre, radius, torch.ones(2, 3), torch.ones(2), 20, 20))
    assert history.gradient.tolist() == [60.0, 10.0]
    assert history.views.tolist() == [2.0, 1.0]
    torch.testing.assert_close(history.radius, torch.tensor([0.5, 0.1]))


def test_an_optimiser_follows_and_then_steps_as_if_the_rows_had_always_been_there(generator: torch.Generator) -> None:
    """Adam on moved rows equals Adam on the same rows that never moved; new rows start from zero."""
    start = torch.randn(5, 3, generator=generator)
    still, moved = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizers = [torch.optim.Adam([parameter], lr=0.1) for parameter in (still, moved)]
    source = torch.tensor([4, 2, -1, 0])
    for parameter, optimizer in zip((still, moved), optimizers, strict=True):
        parameter.grad = start.cos()
        optimizer.step()
    moved.data = torch.cat([moved.data[[4, 2]], torch.zeros(1, 3), moved.data[[0]]])
    rearrange(optimizers[1], Rearrangement((moved,), source))
    still.grad, moved.grad = start.sin(), torch.cat([start.sin()[[4, 2]], torch.ones(1, 3), start.sin()[[0]]])
    for optimizer in optimizers:
        optimizer.step()
    assert torch.equal(moved[[0, 1, 3]], still[[4, 2, 0]])
    assert moved.shape == (4, 3)


def test_a_reset_lowers_opacities_and_forgets_their_moments(generator: torch.Generator) -> None:
    shape = Gaussians.holding(cloud(), control=DensityControl(every=1000, reset_every=5, reset_opacity=0.01))
    centre = torch.zeros(1, 6, 2)
    statistics = SplatStatistics(centre, torch.ones(1, 6), torch.ones(6, 3), torch.ones(6), 8, 8)
    image = torch.zeros(1, 8, 8, 1)
    rendering = Rendering(image.expand(1, 8, 8, 3), image, image, splats=statistics)
    (change,) = shape.adapt(rendering, 5, 0.1, generator)
    torch.testing.assert_close(shape.alphas, torch.full((6,), 0.01))
    assert change.parameters == (shape.opacities,)
    assert change.source.tolist() == [-1] * 6
    assert shape.adapt(rendering, 6, 0.1, generator) == ()


@pytest.mark.parametrize("wrong", [{"every": 0}, {"begin": 0.9, "finish": 0.1}, {"reset_opacity": 0.0}, {"share": 2.0}])
def test_settings_without_meaning_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="density control needs"):
        DensityControl(**wrong)
