import pytest
import torch
from analytic_views import Counted, X, cameras, guide_of, levels, number, pair_prior, toy, view_of

from dreamkit.guidance.dds import DDS
from dreamkit.guidance.pds import PDS
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.priors.analytic import GaussianMixture

T = levels(150, 500, 900)


def edit(
    prior: GaussianMixture,
    clean: torch.Tensor,
    source: torch.Tensor,
    prompts: tuple[str, str] = ("0", "1"),
    scale: float = 1.0,
    mask: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    t: torch.Tensor = T,
) -> NoisyView:
    new, old = (guide_of(prior, len(clean), scale, prompt) for prompt in prompts)
    return view_of(prior, clean, t, noise, new, original=OriginalView(source, old, mask))


def equal_spread() -> GaussianMixture:
    """N(m, 0.5^2) under both prompts, m = 0.3 and -0.9."""
    return GaussianMixture(number(0.3, -0.9), 0.5)


def slope(prior: GaussianMixture, t: torch.Tensor, std: float) -> torch.Tensor:
    """`k(t) = alpha sigma / (alpha^2 s^2 + sigma^2)`, of card 0.7."""
    alpha, sigma = prior.schedule.at(t, number(*[0.0] * len(t)))
    return alpha * sigma / (alpha**2 * std**2 + sigma**2)


def test_t5_2_the_pull_between_two_prompts_has_no_noise(generator: torch.Generator) -> None:
    """T5.2: with x = x_src, `G = k(t) (m_src - m_tgt)` whatever the noise is."""
    prior, clean = equal_spread(), number(X, X, X)
    expected = slope(prior, T, 0.5) * (-0.9 - 0.3)
    for _ in range(5):
        noise = torch.randn(3, 1, dtype=torch.float64, generator=generator)
        # Worst 4.4e-16.
        torch.testing.assert_close(
            DDS().residual(prior, edit(prior, clean, clean, noise=noise), None), expected, atol=1e-13, rtol=0
        )


def test_t5_3_the_pull_between_two_images(generator: torch.Generator) -> None:
    """T5.3: with equal prompts, `G = k(t) (x - x_src)`; k(500) = 0.56409089."""
    prior, clean, source = toy(), number(X, X, X), number(0.2, 0.2, 0.2)
    noise = torch.randn(3, 1, dtype=torch.float64, generator=generator)
    pull = DDS().residual(prior, edit(prior, clean, source, ("0", "0"), noise=noise), None)
    # Worst 6.1e-16.
    torch.testing.assert_close(pull, slope(prior, T, 0.5) * 1.5, atol=1e-13, rtol=0)
    assert slope(prior, levels(500), 0.5).item() == pytest.approx(0.56409089, abs=1e-8)


def test_t5_4_nothing_happens_outside_the_mask(generator: torch.Generator) -> None:
    """T5.4: zero outside M to the last bit; inside, the unmasked pull."""
    prior = GaussianMixture(torch.randn(2, 4, 8, 8, dtype=torch.float64, generator=generator), 0.5)
    clean, source, noise = (torch.randn(3, 4, 8, 8, dtype=torch.float64, generator=generator) for _ in range(3))
    mask = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    mask[:, :, 2:6, 3:7] = 1
    for method in (DDS(), PDS()):
        masked = method.residual(prior, edit(prior, clean, source, mask=mask, noise=noise), None)
        free = method.residual(prior, edit(prior, clean, source, noise=noise), None)
        assert (masked[mask.expand_as(masked) == 0] == 0).all()
        assert torch.equal(masked * mask, free * mask)
        assert masked.abs().max() > 0.1


def test_t5_5_what_lies_outside_is_drawn_back_and_the_inside_is_free(generator: torch.Generator) -> None:
    """T5.5: the preservation term is zero inside M when its inner weight is 0, and `k (x - x_src)` outside."""
    prior, clean, source = pair_prior(), number(X, X, X), number(0.2, 0.2, 0.2)
    mask = torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64)
    noise = torch.randn(3, 1, dtype=torch.float64, generator=generator)
    view = edit(prior, clean, source, mask=mask, noise=noise)
    term = DDS(keep_outside=0.5).residual(prior, view, None) - DDS().residual(prior, view, None)
    assert term.flatten().tolist() == [0, 0.5 * 1.5, 0]


def test_pds_with_two_levels_between_steps_has_the_authors_coefficients() -> None:
    """Card 5.3's caveat: psi = 0.314, 0.032, 0.0062 and chi = 0.115, 0.082, 0.1035 at t = 101, 501, 901."""
    prior = toy()
    psi, chi = PDS().coefficients(prior.schedule, levels(101, 501, 901), number(0.0, 0.0, 0.0))
    # The card prints two to four digits: worst 4.7e-4, for chi(101).
    torch.testing.assert_close(psi, number(0.314, 0.032, 0.0062), atol=5e-4, rtol=0)
    torch.testing.assert_close(chi, number(0.115, 0.082, 0.1035), atol=5e-4, rtol=0)


def test_pds_is_the_difference_of_stochastic_latents(generator: torch.Generator) -> None:
    """Card 5.3 step by step, both noises shared: `z = (x_s - mu) / sigma_post` of each view, in its own variables."""
    prior, t = pair_prior(), levels(500)
    noise, other = number(0.4), number(-1.1)
    alpha, sigma = (scale[t].view(1, 1) for scale in (prior.schedule.alphas, prior.schedule.sigmas))
    kept = prior.schedule.alphas**2
    one_step = (1 - kept[500] / kept[499]).item()
    past = kept[498].item()
    c0 = past**0.5 * one_step / (1 - kept[500])
    c1 = (1 - one_step) ** 0.5 * (1 - past) / (1 - kept[500])
    post = (one_step * (1 - past) / (1 - kept[500])) ** 0.5

    def latent(x: torch.Tensor, prompt: str) -> torch.Tensor:
        noised = alpha * x + sigma * noise
        clean = prior.schedule.denoise(noised, prior.predict_noise(noised, t, prior.embed([prompt])), t)
        return (past**0.5 * x + (1 - past) ** 0.5 * other - c0 * clean - c1 * noised) / post

    expected = latent(number(X), "0") - latent(number(0.2), "1")
    view = edit(prior, number(X), number(0.2), noise=noise, t=t)
    # Measured 5.2e-15.
    torch.testing.assert_close(PDS().residual(prior, view, None), expected, atol=1e-13, rtol=0)


def test_four_predictions_are_asked_for_in_one_call() -> None:
    """Card 15.3."""
    prior = Counted()
    for method in (DDS(), PDS()):
        method.residual(prior, edit(prior, number(X), number(X), t=levels(500)), None)
    assert prior.calls == [4, 4]


@pytest.mark.parametrize(("method", "name"), [(DDS(), "DDS"), (PDS(), "PDS")])
def test_without_an_original_the_error_says_how_to_name_one(method: DDS | PDS, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} edits a scene .* edit\.run=outputs/mug"):
        method.residual(pair_prior(), view_of(pair_prior(), number(X), levels(500)), None)


def test_levels_without_one_below_are_refused() -> None:
    prior = pair_prior()
    with pytest.raises(ValueError, match="2 levels below each level and got level 1"):
        PDS().residual(prior, edit(prior, number(X), number(X), t=levels(1)), None)


def test_an_original_of_another_batch_is_refused(generator: torch.Generator) -> None:
    prior = pair_prior()
    original = OriginalView(number(0.2, 0.2), guide_of(prior, 2))
    with pytest.raises(ValueError, match="'original latents': 2"):
        noisy_view(
            prior, number(X), levels(500), guide_of(prior, 1), cameras(1), generator, progress=0.5, original=original
        )
