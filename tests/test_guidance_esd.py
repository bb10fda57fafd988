import pytest
import torch
from analytic_students import Exact
from analytic_views import Counted, guide_of, levels, number, pair_prior, toy

from dreamkit.cameras import orbit
from dreamkit.guidance.esd import ESD
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import GaussianMixture, renders
from dreamkit.schedules import Ramp

THETA = (-0.5, 0.4, 1.5)
NODES = torch.special.ndtri((torch.arange(16, dtype=torch.float64) + 0.5) / 16).unsqueeze(1)
"Sixteen noises of equal weight that stand for a normal distribution; symmetric."


def around(count: int):
    return orbit([360.0 * i / count for i in range(count)])


def views_of(
    prior: GaussianMixture, theta: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, scale: float = 1.0
) -> tuple[NoisyView, Exact]:
    """Each camera's picture under the given noises (one block of all cameras for each), and the ideal student."""
    blocks, count = len(noise) // len(theta), len(theta)
    cameras = around(count)
    guide = guide_of(prior, len(noise), scale)
    rows = cameras[list(range(count)) * blocks]
    view = noisy_view(prior, theta.repeat(blocks, 1), t, guide, rows, torch.Generator().manual_seed(0), noise)
    return view, Exact(renders(theta), cameras)


def mean_pull(method: ESD | VSD, theta: torch.Tensor, t: int, nodes: torch.Tensor = NODES) -> torch.Tensor:
    """G of each camera, averaged over noise, under N(0.3, 0.5^2)."""
    noise = nodes.repeat_interleave(len(theta), dim=0)
    view, state = views_of(toy(), theta, torch.full((len(noise),), t), noise)
    return method.residual(toy(), view, state).view(len(nodes), len(theta)).mean(dim=0)


def test_t3_2_linear_in_the_entropy_s_weight(generator: torch.Generator) -> None:
    prior, theta = pair_prior(), number(*THETA)
    noise = torch.randn(3, 1, dtype=torch.float64, generator=generator)
    view, state = views_of(prior, theta, levels(100, 500, 900), noise, scale=7.5)
    none, some, half, full, beyond = (ESD(entropy=e).residual(prior, view, state) for e in (0.0, 0.3, 0.5, 1.0, 1.5))
    # Worst 1.7e-16.
    torch.testing.assert_close(some, 0.7 * none + 0.3 * full, atol=1e-13, rtol=0)
    torch.testing.assert_close(half, 0.5 * (none + full), atol=1e-13, rtol=0)
    # Extrapolated, s_phi = -0.5: worst 2.2e-16.
    torch.testing.assert_close(beyond, 1.5 * full - 0.5 * none, atol=1e-13, rtol=0)


def test_t3_3_three_cameras() -> None:
    """T3.3: theta = (-0.5, 0.4, 1.5), t = 500; with entropy the first camera's pull turns round."""
    theta = number(*THETA)
    # Fine enough to integrate the mixture's bend: 2 000 nodes leave an error of 1.5e-6.
    nodes = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000).unsqueeze(1)
    told = mean_pull(ESD(weighting="uniform", entropy=0.0), theta, 500)
    free = mean_pull(ESD(weighting="uniform", entropy=1.0), theta, 500, nodes)
    # The card prints six digits, and symmetric nodes are exact for a straight line: worst 2.8e-7.
    torch.testing.assert_close(told, torch.tensor([-0.451273, 0.056409, 0.676909]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(free, torch.tensor([0.023671, 0.087958, 0.170416]).double(), atol=1e-5, rtol=0)


def test_t3_3_full_entropy_is_the_slope_of_the_divergence_of_all_views_together() -> None:
    """T3.3: the numbers for lambda = 1 are `C (sigma / alpha) d KL(q_t | p_t) / d theta_c`, by quadrature of the KL."""
    theta, prior = number(*THETA).requires_grad_(), toy()
    alpha, sigma = (scale[500] for scale in (prior.schedule.alphas, prior.schedule.sigmas))
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    q = (torch.exp(-0.5 * ((x - alpha * theta) / sigma) ** 2) / (sigma * (2 * torch.pi) ** 0.5)).mean(dim=0)
    variance = alpha**2 * 0.25 + sigma**2
    log_p = -0.5 * (x - alpha * 0.3) ** 2 / variance - 0.5 * (2 * torch.pi * variance).log()
    kl = torch.trapezoid(q * (q.log() - log_p), x)
    (slope,) = torch.autograd.grad(kl, theta)
    # The card prints six digits: worst 3.1e-7.
    expected = torch.tensor([0.023671, 0.087958, 0.170416]).double()
    torch.testing.assert_close(len(THETA) * sigma / alpha * slope[:, 0], expected, atol=1e-6, rtol=0)


def test_t3_4_entropy_spreads_sixteen_views(generator: torch.Generator) -> None:
    """T3.4: std of the views 0.01, 0.02 and 0.49 for lambda 0, 0.5 and 1; the mean stays near 0.3.

    The card's 4 000 steps of 0.02 are 100 here, each of 40 times the step on 40 times the draws.
    """
    spread = []
    for entropy in (0.0, 0.5, 1.0):
        theta = torch.linspace(-1, 2, 16, dtype=torch.float64).unsqueeze(1)
        for _ in range(100):
            noise = torch.randn(640, 1, dtype=torch.float64, generator=generator)
            t = torch.randint(20, 980, (640,), generator=generator)
            view, state = views_of(toy(), theta, t, noise)
            pull = ESD(weighting="sds", entropy=entropy).residual(toy(), view, state).view(40, 16, 1).mean(dim=0)
            theta = theta - 0.8 * pull
        assert theta.mean().item() == pytest.approx(0.3, abs=0.1)
        spread.append(theta.std().item())
    # Seed 0: 0.011, 0.016 and 0.51 to 0.52.
    assert spread[0] < 0.03
    assert spread[1] < 0.05
    assert spread[2] == pytest.approx(0.49, abs=0.06)
    # Card 15.2, item 3: at least five times the spread.
    assert spread[2] > 5 * spread[0]


WIDTHS = [(100, 0.8, 0.42), (100, 0.5, 0.26), (100, 1.0, 0.50), (500, 0.95, 0.33)]


@pytest.mark.parametrize(("t", "entropy", "std"), WIDTHS)
def test_t3_5_the_equilibrium_s_width(t: int, entropy: float, std: float) -> None:
    """T3.5: `v^2 = lambda s^2 - (1 - lambda) r^2`, r = sigma_t / alpha_t; narrower views are pushed apart, wider ones
    together."""
    r = float(toy().schedule.ratio(torch.tensor([t]), number(0.0)))
    width = max(0.0, entropy * 0.25 - (1 - entropy) * r**2) ** 0.5
    assert width == pytest.approx(std, abs=0.006)
    z = torch.special.ndtri((torch.arange(128, dtype=torch.float64) + 0.5) / 128).unsqueeze(1)
    slopes = []
    for factor in (0.8, 1.0, 1.2):
        pull = mean_pull(ESD(weighting="uniform", entropy=entropy), 0.3 + factor * width * z, t).unsqueeze(1)
        slopes.append(float((pull * z).mean()))
    assert slopes[0] < 0 < slopes[2]
    # Sixteen nodes and 128 views are a little narrower than the normal distribution: worst 3.3 % (t = 500).
    assert abs(slopes[1]) < 0.1 * min(-slopes[0], slopes[2])


def test_entropy_may_move_over_the_run() -> None:
    prior, theta = toy(), number(*THETA)
    view, state = views_of(prior, theta, levels(500, 500, 500), number(0.1, 0.2, 0.3))
    assert torch.equal(
        ESD(entropy=Ramp(1.0, 0.0)).residual(prior, view, state), ESD(entropy=1.0).residual(prior, view, state)
    )


def test_both_branches_are_asked_for_in_one_call() -> None:
    """Card 15.3: four rows a view, two of the prior and two of the student, in two calls."""
    prior, theta = Counted(), number(*THETA)
    view, _ = views_of(prior, theta, levels(500, 500, 500), number(0.1, 0.2, 0.3))
    student = Exact(prior)
    prior.calls.clear()
    ESD(entropy=0.5).residual(prior, view, student)
    assert prior.calls == [6, 6]


def test_a_student_that_never_learns_without_cameras_is_refused() -> None:
    with pytest.raises(ValueError, match="dropout=0"):
        ESD(dropout=0.0)
