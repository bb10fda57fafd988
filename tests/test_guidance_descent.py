"""Method card 15.2, item 3: where whole descents end. The third of its toys, ESD's spread, is T3.4."""

import pytest
import torch
from analytic_views import M, S, guide_of, toy

from dreamkit.cameras import orbit
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.ism import ISM
from dreamkit.guidance.levels import Window
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import GaussianMixture


@pytest.mark.parametrize("method", [SDS(), ISM()], ids=lambda method: type(method).__name__)
def test_a_free_picture_reaches_the_mode_of_its_prompt(method: AbstractGuidance, generator: torch.Generator) -> None:
    """SDS and ISM reach a mode: the one that the prompt names, of a mixture in 4 x 8 x 8 numbers.

    Without guidance: at scale 7.5 ISM ends up to 0.5 beyond the mode, away from the other, while its inversion under
    the empty prompt finds no mode alone. 150 steps do what the card has 300 for.
    """
    modes = torch.randn(2, 4, 8, 8, dtype=torch.float64, generator=generator)
    prior = GaussianMixture(modes, 0.3)
    theta = (0.1 * torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.1)
    guide, camera = guide_of(prior, 1), orbit([0.0])
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 150)
        t = Window(0.02, 0.5).draw(0.0, 1, generator)
        optimizer.zero_grad()
        distill(method, prior, noisy_view(prior, theta, t, guide, camera, generator)).loss.backward()
        optimizer.step()
    named, other = ((theta - mode).square().mean().sqrt().item() for mode in modes)
    # Seed 0: 0.022 (SDS) and 0.038 (ISM) from the named mode; ISM with another seed 0.084.
    assert named < 0.2
    assert other > 1.2


def test_particles_take_the_prior_s_mean_and_variance(generator: torch.Generator) -> None:
    """VSD with 64 particles and a student that is trained along; that SDS ends without variance is T1.6."""
    prior, method = toy(), VSD(weighting="uniform")
    theta = torch.randn(64, 1, dtype=torch.float64, generator=generator).requires_grad_()
    state, guide, around = method.init(prior), guide_of(prior, 64), orbit([0.0] * 64)
    assert state is not None
    learner, optimizer = torch.optim.Adam(state.parameters(), lr=0.02), torch.optim.Adam([theta], lr=0.03)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 300)
        view = noisy_view(prior, theta, Window(0.02, 0.5).draw(0.0, 64, generator), guide, around, generator)
        optimizer.zero_grad()
        distill(method, prior, view, state).loss.backward()
        optimizer.step()
        learner.zero_grad()
        fitted = method.fit(prior, view, state)
        assert fitted is not None
        fitted.backward()
        learner.step()
    assert theta.mean().item() == pytest.approx(M, abs=0.05)
    # Card: within 20 %. Four seeds: 0.260, 0.261, 0.250 and 0.213 against 0.25; the mean within 0.008.
    assert theta.var().item() == pytest.approx(S**2, rel=0.2)
