import itertools

import pytest
import torch

from dreamkit.priors.analytic import GaussianMixture, gaussian, renders
from dreamkit.priors.conditioning import Conditioning

M, S, X, K500 = 0.3, 0.5, 1.7, 0.56409089


def points() -> GaussianMixture:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.3, 0.5, 0.2]).double(), torch.tensor([1.0, 2.0, 1.0]).double())


def log_density(prior: GaussianMixture, x: torch.Tensor, t: int, weights: torch.Tensor) -> torch.Tensor:
    """Brute force over components, from the definition."""
    alpha, sigma = prior.schedule.alphas[t], prior.schedule.sigmas[t]
    terms = []
    for k in range(len(prior.means)):
        variance = alpha**2 * prior.stds[k] ** 2 + sigma**2
        square = ((x - alpha * prior.means[k]) ** 2).sum()
        terms.append(weights[k] * torch.exp(-square / (2 * variance)) / variance ** (x.numel() / 2))
    return torch.log(torch.stack(terms).sum())


def test_the_gaussian_pulls_with_the_reference_strength() -> None:
    """Method card 0.7: `k(500) = alpha sigma / (alpha^2 s^2 + sigma^2) = 0.56409089`."""
    prior = gaussian(torch.tensor([M], dtype=torch.float64), S)
    alpha = prior.schedule.alphas[500]
    noise = prior.predict_noise(
        alpha * torch.tensor([[X]], dtype=torch.float64), torch.tensor([500]), prior.embed([""])
    )
    # The card prints eight digits: worst 4.2e-9.
    assert noise.item() / (X - M) == pytest.approx(K500, abs=1e-8)


@pytest.mark.parametrize("prompt", ["", "0", "2"])
@pytest.mark.parametrize("t", [20, 400, 900])
def test_noise_is_minus_sigma_times_the_score(prompt: str, t: int, generator: torch.Generator) -> None:
    prior = points()
    x = torch.randn(2, dtype=torch.float64, generator=generator, requires_grad=True)
    condition = prior.embed([prompt])
    (score,) = torch.autograd.grad(log_density(prior, x, t, condition.tokens[0, 0]), x)
    noise = prior.predict_noise(x.detach()[None], torch.tensor([t]), condition)
    # Worst 2.2e-16.
    torch.testing.assert_close(noise[0], -prior.schedule.sigmas[t] * score, atol=1e-13, rtol=0)


@pytest.mark.parametrize("t", [200, 500, 800])
def test_noise_is_the_mean_of_the_noise_that_could_have_made_it(t: int, generator: torch.Generator) -> None:
    """`eps*(x_t) = E[eps | x_t]`, by weighing samples of the prior with their likelihood."""
    prior = points()
    clean = prior.sample(200_000, generator)
    alpha, sigma = prior.schedule.alphas[t], prior.schedule.sigmas[t]
    noised = torch.tensor([[0.2, -0.3]], dtype=torch.float64)
    guess = (noised - alpha * clean) / sigma
    weight = torch.softmax(-0.5 * guess.square().sum(dim=1), dim=0)
    estimate = (weight[:, None] * guess).sum(dim=0)
    # Monte Carlo error, worst of five seeds 0.004 (t = 200).
    torch.testing.assert_close(
        prior.predict_noise(noised, torch.tensor([t]), prior.embed([""]))[0], estimate, atol=0.03, rtol=0
    )


def test_samples_have_the_mixture_s_mean_and_follow_their_condition(generator: torch.Generator) -> None:
    prior = points()
    mean = (prior.weights[:, None] * prior.means).sum(dim=0)
    # Standard error 0.003; worst of five seeds 0.008.
    torch.testing.assert_close(prior.sample(100_000, generator).mean(dim=0), mean, atol=0.02, rtol=0)
    third = prior.sample(5_000, generator, prior.embed(["2"])[[0] * 5_000])
    # Standard error 0.003; worst of five seeds 0.005.
    torch.testing.assert_close(third.mean(dim=0), prior.means[2], atol=0.02, rtol=0)
    # Standard error 1 %; worst of five seeds 2 %.
    assert third.std(dim=0).tolist() == pytest.approx([0.2, 0.2], rel=0.05)


def test_the_flow_of_the_gaussian_keeps_its_standardised_distance() -> None:
    """Method card 0.7: along `dz / dr = eps`, `(z - m) / sqrt(s^2 + r^2)` is constant, r = sigma / alpha."""
    prior = gaussian(torch.tensor([M], dtype=torch.float64), S)
    levels = torch.arange(999, 99, -3)
    ratio = prior.schedule.sigmas / prior.schedule.alphas
    null = prior.embed([""])
    z = torch.tensor([[5.0]], dtype=torch.float64)
    before = (z - M) / (S**2 + ratio[999] ** 2) ** 0.5
    for now, then in itertools.pairwise(levels):
        noise = prior.predict_noise(z * prior.schedule.alphas[now], now[None], null)
        z = z + (ratio[then] - ratio[now]) * noise
    after = (z - M) / (S**2 + ratio[levels[-1]] ** 2) ** 0.5
    # Euler steps of three levels each: relative 2.1e-3.
    torch.testing.assert_close(after, before, atol=0, rtol=0.01)


def test_renders_are_points_given_their_view_and_a_mixture_without_it() -> None:
    """Method card 0.7: `q_t(. | c) = N(alpha theta_c, sigma^2)`, so the noise given c is the noise itself."""
    theta = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    prior = renders(theta)
    t, noise = torch.tensor([600, 600]), torch.tensor([[0.3], [-1.1]], dtype=torch.float64)
    noised = prior.schedule.add_noise(theta, noise, t)
    # Worst 2.2e-16.
    torch.testing.assert_close(prior.predict_noise(noised, t, prior.embed(["0", "1"])), noise, atol=1e-12, rtol=0)
    average = prior.predict_noise(noised, t, prior.embed(["", ""]))
    assert ((average - noise).abs() > 0.05).all()


def test_an_interpolated_condition_is_a_reweighed_mixture() -> None:
    prior = points()
    half = prior.embed(["0"]).lerp(prior.embed(["1"]), torch.tensor([0.5]))
    same = Conditioning(torch.tensor([[[0.5, 0.5, 0.0]]], dtype=torch.float64))
    x, t = torch.tensor([[0.1, 0.2]], dtype=torch.float64), torch.tensor([300])
    assert torch.equal(prior.predict_noise(x, t, half), prior.predict_noise(x, t, same))


def test_prompts_with_view_words_find_their_component() -> None:
    prior = GaussianMixture(torch.zeros(2, 1), 1.0, names=["bear", "bear, back view"])
    assert prior.embed(["bear, front view", "bear, back view"]).tokens[:, 0].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="did you mean 'bear'"):
        prior.embed(["baer"])


def test_images_pass_unchanged_and_with_gradient() -> None:
    prior = gaussian(torch.zeros(4, 4, 3), 1.0)
    image = torch.rand(2, 4, 4, 3, requires_grad=True)
    assert prior.encode(image) is image
    assert prior.decode(image) is image
    assert prior.latent_shape == (4, 4, 3)
