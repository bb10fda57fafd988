import pytest
import torch

from dreamkit.priors import schedule as schedules
from dreamkit.priors.prediction import to_noise

CARD = {
    0: (0.999150, 0.02917),
    20: (0.981314, 0.13799),
    100: (0.894223, 0.34393),
    250: (0.673793, 0.69580),
    500: (0.276333, 1.61828),
    750: (0.056170, 4.09916),
    980: (0.0058438, 13.0431),
    999: (0.0046601, 14.6146),
}


@pytest.mark.parametrize("t", CARD)
def test_stable_diffusion_levels_have_the_card_values(t: int) -> None:
    """Method card 0.2."""
    kept, ratio = CARD[t]
    schedule = schedules.scaled_linear()
    at = schedule.ratio(torch.tensor([t]), torch.zeros(1, 1, dtype=torch.float64))
    # The card prints six digits of the product, four to six of the ratio: worst relative 2.9e-6, level 0 9.7e-5.
    assert schedule.alphas[t].item() ** 2 == pytest.approx(kept, rel=1e-5)
    assert at.item() == pytest.approx(ratio, rel=2e-4 if t == 0 else 2e-5)


@pytest.mark.parametrize("build", [schedules.linear, schedules.scaled_linear])
def test_noise_grows_and_variance_is_kept(build) -> None:
    schedule = build()
    assert len(schedule) == 1000
    assert (schedule.sigmas.diff() > 0).all()
    # Rounding of one root and one square in float64: worst 2.2e-16.
    torch.testing.assert_close(schedule.alphas**2 + schedule.sigmas**2, torch.ones(1000).double(), atol=1e-15, rtol=0)


def test_noising_and_denoising_invert_each_other(generator: torch.Generator) -> None:
    schedule = schedules.scaled_linear()
    clean, noise = torch.randn(2, 5, 4, 3, dtype=torch.float64, generator=generator)
    t = torch.tensor([0, 20, 500, 980, 999])
    noised = schedule.add_noise(clean, noise, t)
    # Worst 4.4e-15.
    torch.testing.assert_close(schedule.denoise(noised, noise, t), clean, atol=1e-12, rtol=0)
    torch.testing.assert_close(schedule.noise_of(noised, clean, t), noise, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_converts_to_the_noise(kind: str, generator: torch.Generator) -> None:
    """Method card 0.1: `v = alpha eps - sigma x_0`."""
    schedule = schedules.scaled_linear()
    clean, noise = torch.randn(2, 4, 2, 3, 3, dtype=torch.float64, generator=generator)
    t = torch.tensor([1, 250, 750, 999])
    alpha, sigma = schedule.at(t, clean)
    output = {"epsilon": noise, "v_prediction": alpha * noise - sigma * clean, "sample": clean}[kind]
    # Worst 5.1e-15 (x_0 at level 1).
    torch.testing.assert_close(
        to_noise(kind, output, schedule.add_noise(clean, noise, t), t, schedule), noise, atol=1e-12, rtol=0
    )


def test_an_unknown_prediction_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'v_prediction'"):
        to_noise("v-prediction", *torch.zeros(2, 1, 1), torch.tensor([0]), schedules.linear())


def test_config_defaults_are_those_of_diffusers() -> None:
    from diffusers import DDPMScheduler

    ours, theirs = schedules.from_config({}), DDPMScheduler()
    # Theirs is a product in float32: worst 2.5e-7.
    torch.testing.assert_close(ours.alphas**2, theirs.alphas_cumprod.double(), atol=2e-6, rtol=0)


def test_config_of_a_zero_terminal_schedule_ends_in_pure_noise() -> None:
    from diffusers import DDIMScheduler

    config = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "rescale_betas_zero_snr": True,
    }
    schedule = schedules.from_config(config)
    assert schedule.alphas[-1] == 0
    assert schedule.alphas[0] == schedules.scaled_linear().alphas[0]
    # Theirs is a product in float32: worst 3.9e-7.
    theirs = DDIMScheduler(**config).alphas_cumprod.double()
    torch.testing.assert_close(schedule.alphas**2, theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("config", "words"),
    [({"beta_schedule": "scaled-linear"}, "did you mean 'scaled_linear'"), ({"num_train_timesteps": 500}, "0..999")],
)
def test_configs_that_do_not_fit_are_refused(config: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        schedules.from_config(config)
