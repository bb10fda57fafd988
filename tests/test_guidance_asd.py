import pytest
import torch
from analytic_views import Counted, X, cameras, guide_of, levels, number, pair_prior, toy, view_of

from dreamkit.guidance.asd import ASD
from dreamkit.guidance.view import noisy_view
from dreamkit.priors.draws import PackedGenerators
from dreamkit.priors.guide import GuidedViews

T = levels(500)


def test_t5_7_without_a_shift_it_has_the_cards_number() -> None:
    """T5.7: -1.00817882 at x = 1.7, eps = 0.25, t = 500, s = 7.5; that it is CSD is a reduction of 15.1."""
    prior = pair_prior()
    view = view_of(prior, number(X), T, number(0.25), guide_of(prior, 1, 7.5))
    # The card prints eight digits.
    assert ASD("uniform", shift=0.0).residual(prior, view, None).item() == pytest.approx(-1.00817882, abs=1e-8)


def test_t4_2_bounds_of_the_shifted_level(generator: torch.Generator) -> None:
    """T4.2: `t <= t' <= 999`, `t' - t <= eta (t - t_min)`, and no shift at the lowest level."""
    prior, t = toy(), torch.arange(20, 1000)
    view = view_of(prior, torch.zeros(len(t), 1, dtype=torch.float64), t, guide=guide_of(prior, len(t)))
    for method in (ASD(shift=0.1), ASD(shift=0.1, random=False), ASD(shift=5.0, random=False)):
        later = method.shifted(view)
        assert (later >= t).all()
        assert later.max() <= 999
        assert (later - t <= method.shift * (t - 20) + 1e-6).all()
        assert later[0] == 20
    assert (ASD(shift=0.1, random=False).shifted(view)[[100, 480]] == torch.tensor([130, 548])).all()


@pytest.mark.parametrize(("delta", "pull"), [(20, 0.04309199), (50, 0.10588532), (100, 0.20494814)])
def test_t4_3_reference_numbers(delta: int, pull: float) -> None:
    """T4.3: `(k(t) - k(t')) (x - m)` at s = 1, averaged over the two signs of eps."""
    prior = toy()
    view = view_of(prior, number(X, X), levels(500, 500), number(0.83, -0.83))
    # lowest 0.4 leaves 100 levels below t = 500.
    method = ASD("uniform", shift=delta / 100, random=False, lowest=0.4)
    assert method.residual(prior, view, None).mean().item() == pytest.approx(pull, abs=1e-8)


def test_t4_3_below_the_prior_s_width_the_sign_turns() -> None:
    """T4.3: k peaks where `sigma / alpha = s`: at t = 100 (0.344 against 0.5) a noisier reference pulls harder."""
    view = view_of(toy(), number(X, X), levels(100, 100), number(0.83, -0.83))
    # lowest 0.05 leaves 50 levels below t = 100: t' = 120.
    method = ASD("uniform", shift=0.4, random=False, lowest=0.05)
    assert method.shifted(view).tolist() == [120, 120]
    assert method.residual(toy(), view, None).mean() < 0


def test_t4_4_both_branches_see_the_same_noise(generator: torch.Generator) -> None:
    """T4.4: fresh noise in the second branch has the same mean and a far larger variance."""
    prior, count = toy(), 4000
    clean, t = torch.full((count, 1), X, dtype=torch.float64), torch.full((count,), 500)
    noise, other = (torch.randn(count, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    method = ASD("uniform", shift=0.1, random=False)
    view = view_of(prior, clean, t, noise)
    shared = method.residual(prior, view, None)
    later = method.shifted(view)
    prediction = prior.predict_noise(prior.schedule.add_noise(clean, other, later), later, view.guide.positive)
    fresh = prior.predict_noise(view.noised, t, view.guide.positive) - prediction
    assert shared.std() < 0.1 * fresh.std()
    # Standard error below 0.02; measured 0.007.
    assert shared.mean().item() == pytest.approx(fresh.mean().item(), abs=0.08)


def test_the_weight_is_that_of_the_lower_level() -> None:
    prior = toy()
    view = view_of(prior, number(X), T, number(0.4))
    method = {name: ASD(name, random=False).residual(prior, view, None) for name in ("uniform", "sds")}
    _, sigma = prior.schedule.at(T, view.noised)
    torch.testing.assert_close(method["sds"], sigma**2 * method["uniform"], atol=1e-15, rtol=0)


def test_one_prompt_for_each_view() -> None:
    """Amortised use: a batch of several scenes is what each scene gets alone, its draws included."""
    prior, t = pair_prior(), levels(400, 800)
    prompts = [guide_of(prior, 1, 7.5, prompt) for prompt in ("0", "1")]
    clean, noise = number(X, -0.7), number(0.3, -0.2)
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    packed = noisy_view(
        prior, clean, t, GuidedViews.cat(prompts), cameras(2), PackedGenerators(tuple(seeds), (1, 1)), noise
    )
    together = ASD(shift=0.5).residual(prior, packed, None)
    for row, seed in enumerate((1, 2)):
        one = slice(row, row + 1)
        alone = noisy_view(
            prior, clean[one], t[one], prompts[row], cameras(1), torch.Generator().manual_seed(seed), noise[one]
        )
        assert torch.equal(together[one], ASD(shift=0.5).residual(prior, alone, None))


def test_three_rows_are_asked_for() -> None:
    """Card 15.3: three forwards a view, none of them with a graph."""
    prior = Counted()
    ASD().residual(prior, view_of(prior, number(X), T), None)
    assert prior.calls == [3]


def test_a_shift_to_cleaner_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        ASD(shift=-0.1)
