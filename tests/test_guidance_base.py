from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.priors.analytic import gaussian
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts

PRIOR = gaussian(torch.zeros(2, 3, dtype=torch.float64), 0.5)
CAMERAS = orbit([0.0, 90.0, 180.0])
GUIDE = TextGuide(embed_prompts(PRIOR, [ViewWording().prompts("0")]), scale=1.0)
T = torch.tensor([100, 500, 900])


@dataclass(frozen=True)
class Fixed(AbstractGuidance):
    """G is a number everywhere, but for one element of the last view."""

    value: float = 0.0
    odd: float = 0.0
    paper: ClassVar[str] = ""

    def residual(self, prior, view, state):
        residual = torch.full_like(view.noised, self.value)
        residual[-1, 0, 0] = self.odd
        return residual


def view_of(theta: torch.Tensor, generator: torch.Generator, noise: torch.Tensor | None = None) -> NoisyView:
    """The "renderer" is a sine, so that the chain to theta is not the identity."""
    return noisy_view(PRIOR, theta.sin(), T, GUIDE.at(CAMERAS), CAMERAS, generator, noise)


@pytest.fixture
def theta(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()


def test_t1_2_both_injections_agree_up_to_the_batch(theta: torch.Tensor, generator: torch.Generator) -> None:
    """T1.2, method card 0.4: the target form gives 1/B of what injecting G itself gives."""
    view = view_of(theta, generator)
    result = distill(SDS(), PRIOR, view)
    (target_form,) = torch.autograd.grad(result.loss, theta, retain_graph=True)
    (injected,) = torch.autograd.grad(view.clean, theta, grad_outputs=result.residual)
    # x - (x - G) loses the last bits of G: worst 2.8e-17 of 0.25.
    torch.testing.assert_close(target_form * len(T), injected, atol=1e-14, rtol=0)
    assert injected.abs().max() > 0.1


def test_the_loss_is_half_the_mean_square_length(theta: torch.Tensor, generator: torch.Generator) -> None:
    result = distill(SDS(), PRIOR, view_of(theta, generator))
    # Relative 1.3e-16.
    assert result.loss.item() == pytest.approx(0.5 * result.norm.square().mean().item(), rel=1e-12)


def test_no_residual_means_no_gradient(theta: torch.Tensor, generator: torch.Generator) -> None:
    """Method card 0.4: `G = 0` gives zero gradient."""
    (gradient,) = torch.autograd.grad(distill(Fixed(), PRIOR, view_of(theta, generator)).loss, theta)
    assert (gradient == 0).all()


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_residuals_that_are_not_finite_are_counted_and_not_hidden(
    theta: torch.Tensor, generator: torch.Generator, odd: float
) -> None:
    result = distill(Fixed(1.0, odd), PRIOR, view_of(theta, generator))
    assert result.nonfinite.tolist() == [0, 0, 1]
    assert not result.loss.isfinite()
    assert distill(Fixed(1.0), PRIOR, view_of(theta, generator)).nonfinite.tolist() == [0, 0, 0]


def test_the_noised_view_is_made_of_its_parts_and_has_no_graph(theta: torch.Tensor, generator: torch.Generator) -> None:
    view = view_of(theta, generator)
    assert torch.equal(view.noised, PRIOR.schedule.add_noise(view.clean.detach(), view.noise, T))
    assert view.clean.requires_grad
    assert not view.noised.requires_grad


def test_noise_is_an_input(theta: torch.Tensor, generator: torch.Generator) -> None:
    state = generator.get_state()
    given = torch.full((3, 2, 3), 0.25, dtype=torch.float64)
    assert torch.equal(view_of(theta, generator, given).noise, given)
    assert torch.equal(generator.get_state(), state)


def test_the_same_seed_gives_the_same_view(theta: torch.Tensor) -> None:
    first, second = (view_of(theta, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.noised, second.noised)


def test_counts_that_differ_are_refused(theta: torch.Tensor, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="'conditions': 2, 'cameras': 3"):
        noisy_view(PRIOR, theta, T, GUIDE.at(CAMERAS[:2]), CAMERAS, generator)


def test_a_guidance_learns_nothing_and_leaves_image_gradients_alone_by_default(
    theta: torch.Tensor, generator: torch.Generator
) -> None:
    guidance, gradient = SDS(), torch.rand(1, 2, 2, 3)
    assert guidance.init(PRIOR) is None
    assert guidance.fit(PRIOR, view_of(theta, generator), None) is None
    assert guidance.on_image_gradient(gradient) is gradient
