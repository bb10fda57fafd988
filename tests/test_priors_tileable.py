"""Textures that repeat (rep T4.5), on the decoder in the box."""

import pytest
import torch
from torch import nn

from dreamkit.priors.latent_diffusion import LatentDiffusion
from dreamkit.priors.tileable import make_tileable


@pytest.fixture(scope="module")
def prior() -> LatentDiffusion:
    return LatentDiffusion("toybox", tileable=True)


def decoded(prior: LatentDiffusion) -> tuple[torch.Tensor, torch.Tensor]:
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return latents, prior.decode(latents)


def test_t4_5_rolling_the_latent_rolls_the_picture(prior: LatentDiffusion) -> None:
    latents, picture = decoded(prior)
    with torch.no_grad():
        rolled = prior.decode(latents.roll((5, -3), dims=(2, 3)))
    factor = picture.shape[1] // 16
    # Exact but for the order of sums; worst measured 3.3e-7.
    assert (rolled - picture.roll((5 * factor, -3 * factor), dims=(1, 2))).abs().max() < 1e-5


def test_t4_5_the_seam_is_no_larger_than_any_step(prior: LatentDiffusion) -> None:
    """`mean |row 0 - row H-1|` is at most 1.2 times the median of neighbouring rows'; without wrapping it is not."""
    _, picture = decoded(prior)
    _, plain = decoded(LatentDiffusion("toybox"))

    def seam(image: torch.Tensor) -> float:
        steps = (image - image.roll(1, dims=1)).abs().mean(dim=(0, 2, 3))
        return float(steps[0] / steps[1:].median())

    print("T5", seam(picture), seam(plain))
    assert seam(picture) < 1.2
    assert seam(plain) > seam(picture)


def test_the_denoiser_wraps_too(prior: LatentDiffusion) -> None:
    """Rolls by the UNet's own stride change nothing but the place."""
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    condition, level = prior.embed(["a red mug"]), torch.tensor([500])
    with torch.no_grad():
        here, there = (prior.predict_noise(x, level, condition) for x in (latents, latents.roll(8, dims=3)))
    # Worst measured 9.5e-7.
    assert (here.roll(8, dims=3) - there).abs().max() < 1e-5


def test_networks_without_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="no padded"):
        make_tileable(nn.Linear(2, 2))
