import pytest
import torch

from dreamkit.cameras import Cameras, orbit
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.levels import Window
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import NoisyView, noisy_view
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


def test_t1_3_the_reconstruction_form_has_the_cards_number(generator: torch.Generator) -> None:
    """T1.3: `x - x0_guided` and SDS with the weight "ism", both 1.22158980 at x = 1.7, eps = 0.4, t = 500."""
    prior, t = toy(), torch.tensor([500])
    view = view_of(prior, number(X), number(0.4), t, generator)
    attract = prior.predict_noise(view.noised, t, prior.embed(["0"]))
    # The card prints eight digits.
    assert SDS("ism").residual(prior, view, None).item() == pytest.approx(1.22158980, abs=1e-8)
    assert (view.clean - prior.schedule.denoise(view.noised, attract, t)).item() == pytest.approx(1.22158980, abs=1e-8)


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
