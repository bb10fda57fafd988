import pytest
import torch

from dreamkit.guidance.dream_time import DreamTime
from dreamkit.guidance.levels import SqrtAnneal, Window, linear_window, two_stage
from dreamkit.priors.draws import PackedGenerators
from dreamkit.schedules import Ramp


def test_the_window_reaches_both_its_limits_evenly(generator: torch.Generator) -> None:
    """U{20..980}, both included (method card 16, pitfall 15)."""
    drawn = Window().draw(0.0, 200_000, generator)
    assert (drawn.min().item(), drawn.max().item()) == (20, 980)
    count = torch.bincount(drawn - 20, minlength=961).double()
    # Chi-square over 960 degrees of freedom has mean 960 and deviation 44; five seeds gave 917 to 1009.
    chi = ((count - 200_000 / 961) ** 2 / (200_000 / 961)).sum().item()
    assert 740 < chi < 1180


def test_two_stages_switch_on_their_step(generator: torch.Generator) -> None:
    levels = two_stage(at=0.2)
    assert levels.draw(0.199, 5_000, generator).max() > 900
    assert levels.draw(0.2, 5_000, generator).max() <= 500
    assert levels.draw(0.2, 5_000, generator).min() >= 20


@pytest.mark.parametrize(("progress", "low", "high"), [(0.0, 500, 980), (0.5, 260, 740), (1.0, 20, 500)])
def test_the_linear_window_slides(progress: float, low: int, high: int, generator: torch.Generator) -> None:
    drawn = linear_window().draw(progress, 20_000, generator)
    assert (drawn.min().item(), drawn.max().item()) == (low, high)


def test_limits_that_cross_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="above the highest"):
        Window(0.5, Ramp(0.9, 0.1)).draw(1.0, 1, generator)


def test_sqrt_annealing_falls_fast_first(generator: torch.Generator) -> None:
    """HiFA: `t_max - (t_max - t_min) sqrt(i / N)`."""
    found = [SqrtAnneal().draw(progress, 2, generator).tolist() for progress in (0.0, 0.25, 1.0)]
    assert found == [[980] * 2, [640] * 2, [300] * 2]


def test_t14_1_dreamtime_spends_its_time_in_proportion_to_its_density(generator: torch.Generator) -> None:
    """T14.1: from the highest level to the lowest, never up, histogram proportional to p."""
    levels, steps = DreamTime(), 2_000
    drawn = torch.cat([levels.draw(i / steps, 1, generator) for i in range(steps + 1)])
    assert (drawn[0].item(), drawn[-1].item()) == (799, 200)
    assert (drawn.diff() <= 0).all()
    p = levels.density()
    expected = p.clone()
    # "The nearest tail mass" gives the first level half a share more, and so the last one half a share less.
    expected[-1] += 0.5 * p[-1]
    expected[0] *= 0.5
    histogram = torch.bincount(drawn - 200, minlength=600) / len(drawn)
    # 2001 drawn steps: a level's share is off by at most one step on either end of its run, 1e-3.
    assert (histogram - expected).abs().max() < 1.01e-3
    # 800 to 500 is flat and holds most of the time; below, the share falls with a Gaussian of width 100.
    assert p[-1] == p[300]
    assert (p[200] / p[300]).item() == pytest.approx(0.6065, abs=1e-4)


def test_dreamtime_has_its_upper_flank_in_a_wider_range() -> None:
    p = DreamTime(low=0.02, high=0.98).density()
    assert (p[950 - 20] / p[800 - 20]).item() == pytest.approx(0.8825, abs=1e-4)


@pytest.mark.parametrize("levels", [Window(), SqrtAnneal(), DreamTime()])
def test_views_of_a_group_share_their_level(levels, generator: torch.Generator) -> None:
    drawn = levels.draw(0.3, 8, generator, 4).view(2, 4)
    assert (drawn == drawn[:, :1]).all()
    assert drawn.dtype == torch.int64


def test_views_are_drawn_apart_by_default_and_packed_scenes_as_alone() -> None:
    seeded = [torch.Generator().manual_seed(s) for s in (1, 2, 1, 2)]
    together = Window().draw(0.0, 6, PackedGenerators((seeded[0], seeded[1]), (2, 4)))
    alone = torch.cat([Window().draw(0.0, 2, seeded[2]), Window().draw(0.0, 4, seeded[3])])
    assert torch.equal(together, alone)
    assert len(together.unique()) > 3
