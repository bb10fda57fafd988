import pytest
import torch
from analytic_views import Counted, M, S, X, guide_of, levels, number, pair_prior, toy, view_of

from dreamkit.guidance.inversion import Ladder, ddim_step
from dreamkit.guidance.ism import ISM
from dreamkit.guidance.trajectory import follow
from dreamkit.guidance.tsm import TSM
from dreamkit.schedules import Ramp

T = levels(480)
STILL = number(0.0)
"No start noise: the cards' references begin at z = x."


def interval(method: ISM | TSM, noise: torch.Tensor = STILL, x: float = X) -> float:
    """`eps(x_t) - eps(reference)` at t = 480, s = 400, without guidance and without the weight."""
    prior = toy()
    residual = method.residual(prior, view_of(prior, number(x), T, noise), None)
    return (residual / prior.schedule.ratio(T, residual)).item()


def test_t6_1_fine_ladders_converge_to_the_exact_trajectory() -> None:
    """T6.1: 0.08596995, on the trajectory that begins at x = 1.7 without noise.

    On it `(z - m) / sqrt(s^2 + r^2)` is constant, which gives the start noise for level 0, where r = 0.029 already.
    """
    prior = toy()
    r = prior.schedule.ratio(levels(0, 0), number(0.0, 0.0))
    start = (X - M) * (torch.sqrt(S**2 + r**2) / S - 1) / r
    view = view_of(prior, number(X, X), levels(400, 480), start)
    found = []
    for stride in (200, 40, 8, 4):
        low, high = follow(prior, view, Ladder(stride, steps=480 // stride + 1), gap=0.0).noise
        found.append((high - low).item())
    errors = [abs(value - 0.08596995) for value in found]
    # Euler's error is of first order: 0.035, 0.012, 0.0027 and 0.0014.
    assert errors == sorted(errors, reverse=True)
    # Its first order cancels between two strides: 5.1e-5.
    assert 2 * found[3] - found[2] == pytest.approx(0.08596995, abs=1e-4)


def test_t6_1_the_interval_vanishes_at_the_mean_and_changes_sign_there() -> None:
    """T6.1: the interval term has the sign of x - m, and is zero at m."""
    # At level 0 the mean is alpha_0 m, so this is exactly the prior's trajectory through its mean; measured 0.
    assert abs(interval(ISM(80.0, strength=1.0), x=M)) < 1e-12
    above, below = (interval(ISM(80.0, strength=1.0), x=M + offset) for offset in (0.5, -0.5))
    assert above > 0
    # Measured 0.
    assert above == pytest.approx(-below, abs=1e-12)


def test_t6_2_the_coarse_ladder_of_the_authors() -> None:
    """T6.2: 0.05060038 over the levels 0, 200, 400 and 480."""
    # The card prints eight digits: 3.5e-9, and at most as much in T6.1 (4.2e-9) and T6.7.
    assert interval(ISM(gap=80.0, strength=1.0)) == pytest.approx(0.05060038, abs=1e-8)


def test_t6_3_the_same_start_noise_gives_the_same_residual(generator: torch.Generator) -> None:
    """T6.3: the only randomness is the noise at the start."""
    prior, noise = toy(), torch.randn(1, 1, dtype=torch.float64, generator=generator)
    one, two = (ISM().residual(prior, view_of(prior, number(X), T, noise, seed=seed), None) for seed in (1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, ISM().residual(prior, view_of(prior, number(X), T, -noise), None))


@pytest.mark.parametrize("negative", ["", "1"])
def test_t6_4_without_a_gap_only_guidance_is_left(negative: str, generator: torch.Generator) -> None:
    """T6.4: `G = lambda sigma/alpha [eps(y-) - eps(null) + s (eps(y) - eps(y-))]` at `x_t = x_s`, to the last bit."""
    prior, t = pair_prior(), levels(150, 480, 900)
    clean, noise = (torch.randn(3, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    guide = guide_of(prior, 3, scale=7.5, negative=negative)
    view = view_of(prior, clean, t, noise, guide)
    path = follow(prior, view, Ladder(), 0.0)
    assert torch.equal(path.at(t), path.noised)
    guided = guide.predict(prior, path.noised, t)
    expected = 0.1 * prior.schedule.ratio(t, clean) * (guided - prior.predict_noise(path.noised, t, guide.null))
    assert torch.equal(ISM(gap=0.0).residual(prior, view, None), expected)


def test_t6_7_the_interval_shrinks_with_the_ratio() -> None:
    """T6.7: mu = 400, 424, 440, 476, 480."""
    table = {0.0: 0.05060038, 0.3: 0.03152742, 0.5: 0.02079917, 0.954: 0.00172834, 1.0: 0.0}
    found = [interval(TSM(ratio=ratio, gap=80.0, strength=1.0)) for ratio in table]
    for ours, card in zip(found, table.values(), strict=True):
        assert ours == pytest.approx(card, abs=1e-8)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("method", [ISM(), TSM()])
def test_views_with_different_levels_do_not_disturb_each_other(method: ISM | TSM, generator: torch.Generator) -> None:
    """Card 15.2, batch split, with inversions of different lengths in one batch."""
    prior, t = pair_prior(), levels(20, 300, 690, 980)
    clean, noise = (torch.randn(4, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    together = method.residual(prior, view_of(prior, clean, t, noise, guide_of(prior, 4, 7.5)), None)
    for i in range(4):
        alone = view_of(prior, clean[i : i + 1], t[i : i + 1], noise[i : i + 1], guide_of(prior, 1, 7.5))
        # Measured 0.
        torch.testing.assert_close(method.residual(prior, alone, None)[0], together[i], atol=1e-13, rtol=0)


@pytest.mark.parametrize(("t", "steps"), [(90, 0), (180, 1), (500, 2), (980, 5)])
def test_the_cost_is_the_cards(t: int, steps: int) -> None:
    """Card 15.3: `ceil(s / 200) + 1 + 2` predictions for ISM, one more for TSM."""
    prior = Counted()
    view = view_of(prior, number(X), levels(t))
    ISM(gap=100.0).residual(prior, view, None)
    assert prior.calls == [1] * (steps + 1) + [2]
    prior.calls.clear()
    TSM(gap=100.0).residual(prior, view, None)
    assert prior.calls == [1] * (steps + 1) + [3]


def test_a_short_ladder_starts_higher_and_from_noise() -> None:
    """Card 6.1: the first level is `max(s - stride steps, 0)`; without steps that is s itself."""
    prior, noise = toy(), number(0.7)
    asked: list[int] = []

    def predict(noised: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        asked.extend(t.tolist())
        return torch.zeros_like(noised)

    Ladder(100, 2).invert(prior.schedule, number(X), noise, levels(450), predict)
    assert asked == [250, 350]
    jumped = Ladder(100, 0).invert(prior.schedule, number(X), noise, levels(450), predict)
    assert torch.equal(jumped, prior.schedule.add_noise(number(X), noise, levels(450)))
    with pytest.raises(ValueError, match="stride >= 1"):
        Ladder(0)


def test_a_ddim_step_is_eulers_and_turns_back(generator: torch.Generator) -> None:
    prior = toy()
    x, eps = (torch.randn(2, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    start, end = levels(100, 700), levels(400, 700)
    there = ddim_step(prior.schedule, x, eps, start, end)
    low, high = (prior.schedule.ratio(t, x) for t in (start, end))
    z = x / prior.schedule.at(start, x)[0] + (high - low) * eps
    # Worst 2.9e-16 there, 2.2e-16 back.
    torch.testing.assert_close(there, prior.schedule.at(end, x)[0] * z, atol=1e-13, rtol=0)
    torch.testing.assert_close(ddim_step(prior.schedule, there, eps, end, start), x, atol=1e-13, rtol=0)
    assert torch.equal(there[1], x[1])


def test_the_gap_may_move_over_the_run() -> None:
    prior = toy()
    early, late = (view_of(prior, number(X), T, STILL, progress=progress) for progress in (0.0, 0.3))
    assert follow(prior, early, Ladder(), Ramp(100.0, 80.0, finish=0.3)).s.tolist() == [380]
    assert follow(prior, late, Ladder(), Ramp(100.0, 80.0, finish=0.3)).s.tolist() == [400]


def test_ratios_outside_are_refused() -> None:
    with pytest.raises(ValueError, match=r"between 0 \(ISM\) and 1; got 1.2"):
        TSM(ratio=1.2)
