import pytest
import torch
from analytic_views import Counted, M, S, X, guide_of, levels, number, pair_prior, toy, view_of

from dreamkit.guidance.cds import CDS
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.inversion import ddim_step
from dreamkit.guidance.levels import SqrtAnneal
from dreamkit.guidance.noise import Fixed, Fresh, Offset
from dreamkit.guidance.sds import SDS
from dreamkit.priors.analytic import GaussianMixture, gaussian
from dreamkit.priors.draws import PackedGenerators
from dreamkit.priors.schedule import NoiseSchedule

SIGMAS = (1e-3, 2.0, 4.0)
"Noise levels of a three-level schedule, so that the card's sigma_1 = 4 and sigma_2 = 2 are levels 2 and 1."


def three_levels() -> GaussianMixture:
    alphas = 1 / torch.sqrt(1 + torch.tensor(SIGMAS, dtype=torch.float64) ** 2)
    schedule = NoiseSchedule(alphas, alphas * torch.tensor(SIGMAS, dtype=torch.float64))
    return gaussian(torch.tensor([M], dtype=torch.float64), S, schedule)


def test_t8_1_the_same_inputs_give_the_same_residual() -> None:
    """T8.1: nothing is random but t1, and that not without a spread."""
    prior, noise = toy(), number(0.7)
    still = [CDS(spread=0).residual(prior, view_of(prior, number(X), levels(300), noise, seed=i), None) for i in (1, 2)]
    assert torch.equal(*still)
    moving = [CDS().residual(prior, view_of(prior, number(X), levels(300), noise, seed=i), None) for i in (1, 1, 2)]
    assert torch.equal(moving[0], moving[1])
    assert not torch.equal(moving[0], moving[2])


def test_t8_2_the_reference_numbers() -> None:
    """T8.2: m = 0.3, s = 0.5, x = 1.7, sigma 4 and 2, eps* = 0.7: 0.03040724 by Euler's step, which CDS takes."""
    prior = three_levels()
    ours = CDS(gap=1, spread=0, highest=2).residual(prior, view_of(prior, number(X), levels(1), number(0.7)), None)
    # The card prints eight digits: 1.8e-10.
    assert ours.item() == pytest.approx(0.03040724, abs=1e-8)


def test_t8_2_many_small_steps_are_the_exact_one() -> None:
    """T8.2: 0.02306267 for the exact step from sigma 4 to 2, which the prior's own predictions come to."""

    def difference(steps: int) -> float:
        sigmas = torch.linspace(2, 4, steps + 1, dtype=torch.float64)
        alphas = 1 / torch.sqrt(1 + sigmas**2)
        prior = gaussian(torch.tensor([M], dtype=torch.float64), S, NoiseSchedule(alphas, alphas * sigmas))
        null = prior.embed([""])
        x = prior.schedule.add_noise(number(X), number(0.7), levels(steps))
        first = eps = prior.predict_noise(x, levels(steps), null)
        for t in range(steps, 0, -1):
            x = ddim_step(prior.schedule, x, eps, levels(t), levels(t - 1))
            eps = prior.predict_noise(x, levels(t - 1), null)
        return (first - eps).item()

    assert difference(1) == pytest.approx(0.03040724, abs=1e-8)
    # Euler's error of first order cancels between two numbers of steps: 5.2e-8.
    assert 2 * difference(64) - difference(32) == pytest.approx(0.02306267, abs=1e-6)


def descend(sign: float, steps: int, rate: float = 10.0) -> float:
    """Distance from `m - sigma_1 eps*` after descending G on the three-level prior, with eps* = 0.7."""
    prior, x = three_levels(), number(X)
    method = CDS(gap=1, spread=0, highest=2)
    for _ in range(steps):
        x = x - sign * rate * method.residual(prior, view_of(prior, x, levels(1), number(0.7)), None)
    return abs(x.item() - (M - 4 * 0.7))


def test_t8_2_descent_ends_where_the_trajectory_through_the_mean_begins() -> None:
    """T8.2: the fixed point is `m - sigma_1 eps*`, 4.2 away from the start."""
    assert descend(+1.0, 0) == pytest.approx(4.2)
    # G is linear with the slope 0.00724, so each step leaves 0.276 of the distance: 1.6e-13.
    assert descend(+1.0, 24, rate=100.0) < 1e-9


def test_t8_4_the_flipped_sign_runs_away() -> None:
    """T8.4: noisier minus cleaner; the other sign grows from step to step."""
    distances = [descend(-1.0, steps) for steps in (0, 2, 5, 10)]
    assert distances == sorted(distances)
    # Ten times 1.0724.
    assert distances[-1] == pytest.approx(4.2 * 1.07239819**10, rel=1e-4)


def test_t8_3_equal_levels_give_exactly_nothing() -> None:
    """T8.3."""
    prior = pair_prior()
    view = view_of(prior, number(X, -1.0), levels(200, 900), None, guide_of(prior, 2, 50.0))
    assert (CDS(gap=0, spread=0).residual(prior, view, None) == 0).all()


def test_descent_with_falling_levels_ends_near_the_mean() -> None:
    """T8.2's second half: as the levels fall, `m - sigma_1 eps*` comes to m; eps* is what is left over."""
    prior = gaussian(torch.full((4,), M, dtype=torch.float64), 0.5)
    theta = torch.full((1, 4), X, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.1)
    draws = torch.Generator().manual_seed(4)
    noise = Fixed().draw(theta.detach(), draws)
    guide = guide_of(prior, 1)
    for step in range(80):
        t = SqrtAnneal(0.02, 0.7).draw(step / 80, 1, draws)
        view = view_of(prior, theta, t, noise, guide)
        optimizer.zero_grad()
        distill(CDS(gap=20, spread=0), prior, view).loss.backward()
        optimizer.step()
    lowest = prior.schedule.ratio(levels(40), noise).item()
    # 1.40 at the start, 0.265 at the end, where level 40 has sigma 0.199 and the largest |eps*| is 1.27.
    assert (theta - M).abs().max() < 1.2 * lowest * noise.abs().max()


def test_the_noise_of_cds_varies_less_than_that_of_sds() -> None:
    """Why the method exists: with one noise, repeated evaluations at one level agree; those of SDS scatter."""
    prior, t = toy(), levels(300)
    draws = torch.Generator().manual_seed(4)
    clean, rows = number(X), {"cds": [], "sds": []}
    for _ in range(16):
        rows["cds"].append(CDS(spread=0).residual(prior, view_of(prior, clean, t, Fixed().draw(clean, draws)), None))
        rows["sds"].append(SDS("uniform").residual(prior, view_of(prior, clean, t, Fresh().draw(clean, draws)), None))
    assert torch.cat(rows["cds"]).std() == 0
    # Measured 0.28.
    assert torch.cat(rows["sds"]).std() > 0.05


def test_levels_stay_below_the_highest() -> None:
    """Card 8: `t2 <= highest - gap` and `t1 <= highest`."""
    seen: list[torch.Tensor] = []

    class Watching(GaussianMixture):
        def _predict(self, noised, t, condition):
            seen.append(t)
            return super()._predict(noised, t, condition)

    prior = Watching(number(M), 0.5)
    CDS(highest=500).residual(prior, view_of(prior, number(X), levels(700)), None)
    assert [t.unique().tolist() for t in seen] == [[500], [400]]
    with pytest.raises(ValueError, match="gap <= highest"):
        CDS(gap=600, highest=500)


def test_views_of_a_group_share_both_levels(generator: torch.Generator) -> None:
    """Groups of views keep one level; groups may differ in t1."""
    from dataclasses import replace

    prior, count = toy(), 8
    clean, noise = torch.full((count, 1), X, dtype=torch.float64), torch.ones(count, 1, dtype=torch.float64)
    view = view_of(prior, clean, levels(*[200] * count), noise)
    grouped = replace(view, cameras=replace(view.cameras, group=4))
    pull = CDS().residual(prior, grouped, None).flatten()
    assert pull[:4].unique().numel() == 1
    assert pull[4:].unique().numel() == 1
    assert pull[0] != pull[4]


def test_the_cost_is_the_cards() -> None:
    """Card 15.3: two calls, one after the other, of two rows each."""
    prior = Counted()
    CDS().residual(prior, view_of(prior, number(X), levels(300)), None)
    assert prior.calls == [2, 2]


def test_fixed_noise_is_a_function_of_the_seed_alone() -> None:
    like = torch.zeros(3, 4, 8, 8)
    generator = torch.Generator().manual_seed(7)
    first = Fixed().draw(like, generator)
    before = generator.get_state()
    torch.rand(100, generator=generator)
    # After a resume: another generator with the stored state knows the seed.
    restored = torch.Generator()
    restored.set_state(before)
    assert torch.equal(Fixed().draw(like, generator), first)
    assert torch.equal(Fixed().draw(like, restored), first)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(Fixed().draw(like, torch.Generator().manual_seed(8)), first)
    assert not torch.equal(torch.randn(first[0].shape, generator=torch.Generator().manual_seed(7)), first[0])


def test_fixed_noise_of_a_packed_scene_is_that_of_the_scene_alone() -> None:
    like = torch.zeros(5, 4)
    one, two = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    packed = Fixed().draw(like, PackedGenerators((one, two), (2, 3)))
    assert torch.equal(packed[:2], Fixed().draw(like[:2], one))
    assert torch.equal(packed[2:], Fixed().draw(like[2:], two))


def test_offset_noise_moves_whole_channels(generator: torch.Generator) -> None:
    """Variance `1 + strength^2` in all, `strength^2` of the channel means."""
    noise = Offset(2.0).draw(torch.zeros(64, 4, 16, 16), generator)
    # The sampling error of 256 channel means: measured 2.11 or 1.89, and within 0.003 of 1 for the rest.
    assert noise.mean(dim=(2, 3)).std().item() == pytest.approx(2.0, rel=0.15)
    assert (noise - noise.mean(dim=(2, 3), keepdim=True)).std().item() == pytest.approx(1.0, rel=0.02)
