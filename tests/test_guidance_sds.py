import pytest
import torch

from dreamkit.cameras import Cameras, orbit
from dreamkit.guidance.base import NoisyView, distill, noisy_view
from dreamkit.guidance.levels import Window
from dreamkit.guidance.sds import SDS
from dreamkit.priors.analytic import GaussianMixture, gaussian
from dreamkit.priors.guide import GuidedViews, TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts

M, S, X = 0.3, 0.5, 1.7
"The reference setting of method card 0.7; level 500."


def number(*values: float) -> torch.Tensor:
    return torch.tensor([[value] for value in values], dtype=torch.float64)


def toy(std: float = S) -> GaussianMixture:
    return gaussian(torch.tensor([M], dtype=torch.float64), std)


def cameras(count: int) -> Cameras:
    return orbit([0.0] * count)


def view_of(
    prior: GaussianMixture,
    clean: torch.Tensor,
    noise: torch.Tensor | None,
    t: torch.Tensor,
    generator: torch.Generator,
    scale: float = 1.0,
) -> NoisyView:
    return noisy_view(prior, clean, t, views(prior, len(clean), scale), cameras(len(clean)), generator, noise)


def views(prior: GaussianMixture, count: int, scale: float) -> GuidedViews:
    table = embed_prompts(prior, [ViewWording().prompts("0")])
    return TextGuide(table, scale).at(cameras(count))


def test_t1_1_antithetic_noise_gives_the_exact_pull(generator: torch.Generator) -> None:
    """T1.1: the mean of eps_guided - eps is `k(t) (x - m)`, 0.78972725 in the reference setting."""
    noise = number(0.83, -0.83)
    view = view_of(toy(), number(X, X), noise, torch.tensor([500, 500]), generator)
    # The card prints eight digits: worst 1.9e-9.
    assert SDS("uniform").residual(toy(), view, None).mean().item() == pytest.approx(0.78972725, abs=1e-8)


def test_t1_3_the_reconstruction_form_is_the_ism_weight(generator: torch.Generator) -> None:
    """T1.3: `x - x0_guided`, with x0 from the prior, 1.22158980 at x = 1.7, eps = 0.4, t = 500."""
    prior, t = toy(), torch.tensor([500])
    view = view_of(prior, number(X), number(0.4), t, generator)
    ours = SDS("ism").residual(prior, view, None)
    attract = prior.predict_noise(view.noised, t, prior.embed(["0"]))
    reconstruction = view.clean - prior.schedule.denoise(view.noised, attract, t)
    # Measured 4.4e-16.
    torch.testing.assert_close(ours, reconstruction, atol=1e-13, rtol=0)
    assert ours.item() == pytest.approx(1.22158980, abs=1e-8)


def test_t1_4_sjc_is_the_uniform_weight(generator: torch.Generator) -> None:
    """T1.4: SJC computed in its own variables, `z = x + sigma n`, `D = z - sigma eps`, `G = -(D - x) / sigma`."""
    prior, t = toy(), torch.tensor([20, 500, 980])
    noise = torch.randn(3, 1, dtype=torch.float64, generator=generator)
    clean = number(X, X, X)
    sigma = prior.schedule.ratio(t, clean)
    z = clean + sigma * noise
    predicted = prior.predict_noise(z / torch.sqrt(1 + sigma**2), t, prior.embed(["0"] * 3))
    sjc = -((z - sigma * predicted) - clean) / sigma
    ours = SDS("uniform").residual(prior, view_of(prior, clean, noise, t, generator), None)
    # Worst 1.1e-16 of 0.8.
    torch.testing.assert_close(ours, sjc, atol=1e-12, rtol=0)


@pytest.mark.parametrize("std", [0.05, 0.5, 2.0])
def test_t1_6_descent_ends_at_the_mean_without_variance(std: float, generator: torch.Generator) -> None:
    """T1.6: mode seeking. Sixteen starts, antithetic noise, all end in the same point whatever the prior's width."""
    prior = toy(std)
    theta = torch.linspace(-3, 3, 16, dtype=torch.float64)[:, None].requires_grad_()
    guide, around = views(prior, 32, 1.0), cameras(32)
    for _ in range(60):
        half = torch.randn(16, 1, dtype=torch.float64, generator=generator)
        # One level for an antithetic pair: the two noises then cancel exactly.
        t = Window().draw(0.0, 16, generator).repeat(2)
        view = noisy_view(prior, theta.repeat(2, 1), t, guide, around, generator, torch.cat([half, -half]))
        (gradient,) = torch.autograd.grad(distill(SDS("ism"), prior, view).loss, theta)
        theta = (theta - 16.0 * gradient).detach().requires_grad_()
    # Worst 4.4e-16 from the mean (std 2).
    assert (theta - M).abs().max() < 1e-6


@pytest.mark.parametrize("t", [500, 800, 980])
def test_the_pull_points_away_from_the_prior(t: int, generator: torch.Generator) -> None:
    """Method card 15.2, sign test: descending G moves x towards m."""
    prior = gaussian(torch.zeros(4, 8, 8, dtype=torch.float64), 0.5)
    offset = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=generator)
    clean, half = offset.repeat(64, 1, 1, 1), torch.randn(32, 4, 8, 8, dtype=torch.float64, generator=generator)
    view = view_of(prior, clean, torch.cat([half, -half]), torch.full((64,), t), generator)
    pull = SDS().residual(prior, view, None).mean(dim=0)
    # Antithetic noise cancels: worst 1 - 1.1e-16.
    assert torch.cosine_similarity(pull.flatten(), offset.flatten(), dim=0) > 1 - 1e-9


def test_on_the_prior_s_mean_the_mean_pull_is_zero(generator: torch.Generator) -> None:
    view = view_of(toy(), number(M, M), number(1.3, -1.3), torch.tensor([700, 700]), generator)
    # Measured 0.
    assert SDS().residual(toy(), view, None).mean().abs() < 1e-12


def test_a_batch_is_the_mean_of_its_views(generator: torch.Generator) -> None:
    """Method card 15.2, batch split: B = 4 equals the mean of four runs of one view."""
    prior, t = toy(), torch.tensor([50, 300, 600, 950])
    noise = torch.randn(4, 1, dtype=torch.float64, generator=generator)
    theta = number(X).requires_grad_()

    def gradient(rows: slice) -> torch.Tensor:
        clean = theta.repeat(len(t[rows]), 1)
        result = distill(SDS(), prior, view_of(prior, clean, noise[rows], t[rows], generator, scale=7.5))
        return torch.autograd.grad(result.loss, theta)[0]

    apart = torch.stack([gradient(slice(i, i + 1)) for i in range(4)]).mean(dim=0)
    # Measured 0.
    torch.testing.assert_close(gradient(slice(0, 4)), apart, atol=1e-13, rtol=0)


def test_the_gradient_reaches_the_scene_and_never_the_prior(generator: torch.Generator) -> None:
    means = number(-1.0, 1.0).requires_grad_()
    prior = GaussianMixture(means, 0.5)
    theta = number(X).requires_grad_()
    distill(SDS(), prior, view_of(prior, theta, None, torch.tensor([500]), generator, scale=7.5)).loss.backward()
    assert means.grad is None
    assert theta.grad is not None
    assert theta.grad.abs() > 0


def test_the_same_seed_gives_the_same_residual() -> None:
    def run() -> torch.Tensor:
        generator = torch.Generator().manual_seed(11)
        t = Window().draw(0.0, 2, generator)
        return SDS().residual(toy(), view_of(toy(), number(X, X), None, t, generator), None)

    assert torch.equal(run(), run())


def test_sds_on_a_mixture_ends_in_the_mode_of_its_prompt(generator: torch.Generator) -> None:
    """Method card 15.2, item 3, for SDS: a free 4x8x8 "image" reaches the component that the prompt names."""
    modes = torch.randn(2, 4, 8, 8, dtype=torch.float64, generator=generator)
    prior = GaussianMixture(modes, 0.1)
    theta = torch.zeros(1, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.05)
    guide, around = views(prior, 1, 7.5), cameras(1)
    for _ in range(120):
        t = Window(0.02, 0.5).draw(0.0, 1, generator)
        optimizer.zero_grad()
        distill(SDS(), prior, noisy_view(prior, theta, t, guide, around, generator)).loss.backward()
        optimizer.step()
    to_first, to_second = ((theta - mode).square().mean().sqrt().item() for mode in modes)
    # Three seeds: 0.01 to 0.13 from the named mode, at least 1.36 from the other.
    assert to_first < 0.3
    assert to_second > 1.0
