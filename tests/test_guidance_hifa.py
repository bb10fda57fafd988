"""HiFA: method card 1, "HiFA image loss"."""

from dataclasses import replace

import pytest
import torch
from analytic_views import cameras, guide_of
from small_runs import small_distiller, small_plan, small_scene

from dreamkit.guidance.distillation import distill
from dreamkit.guidance.hifa import HiFA
from dreamkit.guidance.pgc import PGC
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.priors.analytic import GaussianMixture, gaussian
from dreamkit.training.loop import train

T = torch.tensor([20, 500, 900])


class Halved(GaussianMixture):
    """Its pictures are four times as large as its latents, and half as bright."""

    def decode(self, latents):
        return 0.5 * latents.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)


def view_of(prior: GaussianMixture, size: int = 4) -> NoisyView:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 4, 4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    images = torch.rand(3, size, size, 3, dtype=torch.float64, generator=generator).requires_grad_()
    return noisy_view(prior, clean, T, guide_of(prior, 3), cameras(3), generator, images=images)


def plain() -> GaussianMixture:
    return gaussian(torch.full((4, 4, 3), 0.3, dtype=torch.float64), 0.5)


@pytest.mark.parametrize("weighting", ["sds", "uniform", "ism"])
def test_without_the_image_loss_it_is_sds(weighting: str) -> None:
    """The reduction of card 1 (T1.3): `x - x0 = (sigma / alpha)(eps_guided - eps)`; and the pixels get nothing."""
    prior = plain()
    view = view_of(prior)
    method = HiFA(image_weight=0.0, weighting=weighting)
    ours, sds = method.residual(prior, view, None), SDS(weighting).residual(prior, view, None)
    # Through clean latents and back: worst 1.3e-15 of 7.6.
    torch.testing.assert_close(ours, sds, atol=1e-12, rtol=0)
    distill(method, prior, view).loss.backward()
    assert view.images is not None
    assert view.images.grad is None


def test_pixels_are_pulled_towards_the_decoded_estimate() -> None:
    """By hand: `dL/dI = lambda (I - decode(x0)) / B` under the default weight, and not by way of the latents."""
    prior = Halved(plain().means, 0.5)
    view = view_of(prior, size=8)
    method = HiFA(image_weight=0.25)
    noise = prior.predict_noise(view.noised, T, view.guide.positive)
    estimate = prior.schedule.denoise(view.noised, noise, T)
    distilled = distill(method, prior, view)
    distilled.loss.backward()
    assert view.images is not None
    assert view.images.grad is not None
    target = prior.decode(estimate)
    # Worst 4.4e-16.
    torch.testing.assert_close(view.images.grad, 0.25 * (view.images.detach() - target) / 3, atol=1e-12, rtol=0)
    assert view.clean.grad is not None
    torch.testing.assert_close(view.clean.grad, (view.clean.detach() - estimate) / 3, atol=1e-12, rtol=0)


def test_other_weights_weigh_both_terms_alike() -> None:
    """`w alpha / sigma` in front of both."""
    prior = plain()
    view = view_of(prior)
    pairs = []
    for weighting in ("ism", "sds"):
        method = HiFA(weighting=weighting)
        residual = method.residual(prior, view, None)
        pixels = method.image_residual(prior, view, residual)
        assert pixels is not None
        pairs.append((residual, pixels))
    alpha, sigma = prior.schedule.at(T, view.noised)
    for ism, sds in zip(*pairs, strict=True):
        torch.testing.assert_close(sds, alpha * sigma * ism, atol=1e-12, rtol=0)


def test_renders_of_another_size_are_compared_at_their_own() -> None:
    prior = Halved(plain().means, 0.5)
    small = view_of(prior, size=4)
    method = HiFA()
    pixels = method.image_residual(prior, small, method.residual(prior, small, None))
    assert pixels is not None
    assert pixels.shape == (3, 4, 4, 3)


def test_a_run_trains_with_it_wrapped_or_not() -> None:
    """The loop hands the renders on; the image loss changes where the run ends."""

    def final(method) -> torch.Tensor:
        scene = small_scene()
        assert [step.index for step in train(scene, small_distiller(method), small_plan(steps=3))] == [1, 2, 3]
        return torch.cat([p.detach().flatten() for p in scene.parameters()])

    assert not torch.equal(final(HiFA(image_weight=10.0)), final(HiFA(image_weight=0.0)))
    assert final(PGC(inner=HiFA())).isfinite().all()


def test_a_pixel_that_is_not_finite_is_counted() -> None:
    prior = plain()
    view = view_of(prior)
    assert view.images is not None
    images = view.images.detach().clone()
    images[1, 0, 0, 0] = float("nan")
    assert distill(HiFA(), prior, replace(view, images=images)).nonfinite.tolist() == [0, 1, 0]


def test_missing_renders_and_wrong_values_are_explained() -> None:
    prior = plain()
    with pytest.raises(ValueError, match="needs the renders"):
        distill(HiFA(), prior, replace(view_of(prior), images=None))
    with pytest.raises(ValueError, match="not negative"):
        HiFA(image_weight=-1.0)
