"""DMD2, DisBack, SiD and f-distill: the learnt-reference methods of method card 12."""

import pytest
import torch
from analytic_students import Exact
from analytic_views import X, guide_of, levels, number, pair_prior, toy, view_of

from dreamkit.guidance.disback import DisBack, Path
from dreamkit.guidance.divergence import WEIGHTS, divergence_weight, log_ratio
from dreamkit.guidance.dmd2 import DMD2, normalized
from dreamkit.guidance.f_distill import FDistill
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.sid import SiD
from dreamkit.guidance.view import NoisyView
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import GaussianMixture, gaussian
from dreamkit.priors.schedule import NoiseSchedule

MU, V = 1.1, 0.8
"The renders of card 12.3: q = N(1.1, 0.8^2); the prior is N(0.3, 0.5^2)."
NODES = torch.special.ndtri((torch.arange(200, dtype=torch.float64) + 0.5) / 200)
T = levels(300)


def some_view(count: int = 4, scale: float = 1.0, t: int = 300, progress: float = 0.0) -> NoisyView:
    generator = torch.Generator().manual_seed(3)
    clean, noise = (torch.randn(count, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    guide = guide_of(pair_prior(), count, scale)
    return view_of(pair_prior(), MU + V * clean, torch.full((count,), t), noise, guide, progress)


DIVERGENCES = {
    "reverse_kl": (lambda r: -r.log(), 1.0),
    "forward_kl": (lambda r: r * r.log(), 1.0),
    "jensen_shannon": (lambda r: r * r.log() - (1 + r) * ((1 + r) / 2).log(), 1.0),
    "neyman": (lambda r: 1 / r - 1, 2.0),
    "hellinger": (lambda r: (r.sqrt() - 1) ** 2, 0.5),
    "jeffreys": (lambda r: (r - 1) * r.log(), 1.0),
    "pearson": (lambda r: (r - 1) ** 2, 2.0),
}
"f, and the constant that the card drops from `f''(r) r^2`; the softened reverse KL has no f in the card."
GRID = torch.linspace(-12, 12, 24001, dtype=torch.float64)


def bell(mean: float) -> torch.Tensor:
    return torch.exp(-0.5 * (GRID - mean) ** 2) / (2 * torch.pi) ** 0.5


def weighted_pull(name: str) -> float:
    """`E_q[h(r)(s_q - s_p)]` with the exact ratio, for p = N(0, 1) and q = N(0.5, 1), whose scores differ by 0.5."""
    weights = divergence_weight(name, bell(0.0) / bell(0.5))
    return torch.trapezoid(bell(0.5) * weights * 0.5, GRID).item()


@pytest.mark.parametrize(
    ("name", "pull"),
    [
        ("reverse_kl", 0.5),
        ("forward_kl", 0.5),
        ("jensen_shannon", 0.23526351),
        ("softened", 0.26473649),
        ("neyman", 0.64201271),
        ("hellinger", 0.48461662),
        ("jeffreys", 1.0),
    ],
)
def test_t12_0_the_pull_of_each_divergence(name: str, pull: float) -> None:
    """T12.0: teacher N(0, 1), student N(0.5, 1)."""
    # The card prints eight digits.
    assert weighted_pull(name) == pytest.approx(pull, abs=1e-8)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_t12_2_the_weighted_pull_is_the_slope_of_the_divergence(name: str) -> None:
    """T12.2: against a finite difference of `D_f(p | q) = E_q[f(p / q)]` in the student's mean, by quadrature."""
    f, constant = DIVERGENCES[name]

    def divergence(mean: float) -> float:
        return torch.trapezoid(bell(mean) * f(bell(0.0) / bell(mean)), GRID).item()

    h = 1e-4
    slope = (divergence(0.5 + h) - divergence(0.5 - h)) / (2 * h)
    # Central differences: worst 1.5e-8.
    assert slope == pytest.approx(constant * weighted_pull(name), abs=1e-7)


def test_the_weights_are_those_of_the_divergences() -> None:
    """`h = f''(r) r^2` by autograd, up to the constants that the card drops."""
    r = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert set(DIVERGENCES) == set(WEIGHTS) - {"softened"}
    for name, (function, constant) in DIVERGENCES.items():
        (first,) = torch.autograd.grad(function(r).sum(), r, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), r)
        # Worst 1.8e-15, of 10.
        torch.testing.assert_close(second * r**2, constant * WEIGHTS[name](r), atol=1e-12, rtol=0)


def test_the_line_integral_is_exact_between_gaussians() -> None:
    """Card 12.1: the integrand is a straight line, so that two points give log r exactly, as do nine."""
    prior, renders, t = toy(), toy(V, MU), levels(300, 300, 300)
    condition = prior.embed(["0"] * 3)
    a, b = number(-1.0, 0.4, 2.0), number(0.5, 0.5, 0.5)
    alpha, sigma = prior.schedule.at(t, a)

    def log_density(x: torch.Tensor, mean: float, std: float) -> torch.Tensor:
        variance = alpha**2 * std**2 + sigma**2
        return -0.5 * (x - alpha * mean) ** 2 / variance - 0.5 * variance.log()

    exact = [log_density(x, 0.3, 0.5) - log_density(x, MU, V) for x in (a, b)]
    for points in (2, 9):
        path = [b + (a - b) * k / (points - 1) for k in range(points)]
        scores = [(renders.predict_noise(x, t, condition) - prior.predict_noise(x, t, condition)) / sigma for x in path]
        # Worst 2.2e-16.
        torch.testing.assert_close(
            log_ratio(torch.stack(scores), a - b), (exact[0] - exact[1])[:, 0], atol=1e-12, rtol=0
        )


def test_t12_3_the_weights_have_mean_one_over_the_window() -> None:
    """T12.3: also with one view a step, where the batch's own mean would make every weight 1 (pitfall 16)."""
    state = Remembering(Exact(toy(V, MU)), 4, number(0.0))
    first = state.normalize(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64))
    assert first.mean().item() == pytest.approx(1.0)
    # The window is then (2, 3, 6, 1).
    assert state.normalize(torch.tensor([1.0], dtype=torch.float64)).item() == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="window"):
        FDistill(window=1)
    with pytest.raises(ValueError, match="did you mean 'jeffreys'"):
        FDistill(divergence="jeffries")


def test_other_divergences_only_weigh_the_views() -> None:
    """Per-view positive factors of the VSD residual; forward KL stresses where the prior is denser."""
    prior, view, student = pair_prior(), some_view(), Exact(toy(V, MU))
    vsd = VSD().residual(prior, view, student)
    for name in WEIGHTS:
        state = Remembering(student, 64, number(0.0))
        factor = FDistill(divergence=name).residual(prior, view, state) / vsd
        assert (factor > 0).all()
        assert factor.mean().item() == pytest.approx(1.0)


def test_t12_9_dmd2_is_scale_free_and_points_where_vsd_points() -> None:
    """T12.9 and 15.1: a common factor cancels; the direction is that of VSD."""
    real, fake = torch.randn(2, 3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # Measured 4.4e-16.
    torch.testing.assert_close(normalized(7 * real, 7 * fake), normalized(real, fake), atol=1e-12, rtol=0)
    prior, view, student = pair_prior(), some_view(scale=7.5), Exact(toy(V, MU))
    ours, vsd = (method.residual(prior, view, student) for method in (DMD2(), VSD()))
    assert (ours * vsd > 0).all()
    assert DMD2().pace().updates == 5


def test_t12_11_disback_without_degradation_is_vsd() -> None:
    """T12.11: bit for bit."""
    prior, student = pair_prior(), Exact(toy(V, MU))
    path = Path(student, Exact(toy(V, MU)))
    for progress in (0.0, 0.5, 1.0):
        view = some_view(scale=7.5, progress=progress)
        ours = DisBack(degrade=0.0).residual(prior, view, path)
        assert torch.equal(ours, VSD().residual(prior, view, student))


def test_t12_10_the_first_targets_are_nearer() -> None:
    """T12.10: at each switch |G| is smaller than the direct |G| at the start, on a path of Gaussians."""
    prior = toy()
    method = DisBack(degrade=0.1, arrive=0.9, targets=4)
    first = prior.student()
    with torch.no_grad():
        # What it learns from N(1.1, 0.8^2), the prior's mean being 0.3 and its deviation 0.5.
        first.slope[0] = 0.8
        first.anywhere.fill_(0.8)
        first.growth.fill_(float(torch.tensor(V / 0.5).log()))
    z = NODES.unsqueeze(1)
    mean, std = MU, V

    def pull(method: DisBack | VSD, state, progress: float) -> float:
        view = view_of(prior, mean + std * z, T.repeat(len(z)), torch.zeros_like(z), progress=progress)
        return method.residual(prior, view, state).mean().abs().item()

    direct = pull(VSD(), Exact(toy(std, mean)), 0.0)
    assert [method.strength(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert pull(method, Path(Exact(toy(std, mean)), first, recorded=True), 0.05) == 0
    for progress in (0.1, 0.31, 0.51, 0.71, 0.9):
        assert pull(method, Path(Exact(toy(std, mean)), first, recorded=True), progress) < 0.5 * direct
        # The renders arrive at this target before the next.
        share = method.strength(progress)
        mean, std = 0.3 + 0.8 * share, 0.5 * (V / 0.5) ** share


def test_disback_s_first_target_is_what_its_student_knew_when_the_walk_began() -> None:
    """Card 12.5: nothing but the student learns; the target is its copy, and stays when the student goes on."""
    prior, method = toy(), DisBack(degrade=0.5, arrive=0.9)
    state = method.init(prior)
    assert isinstance(state, Path)
    assert all(not p.requires_grad for p in state.first.parameters())
    optimizer, known = torch.optim.Adam(state.fake.parameters(), lr=0.05), []
    for progress in (0.0, 0.2, 0.6, 0.7):
        view = view_of(prior, number(X, -X), levels(300, 700), progress=progress)
        known.append({name: value.clone() for name, value in state.fake.state_dict().items()})
        method.residual(prior, view, state)
        assert bool(state.recorded) == (progress >= 0.5)
        optimizer.zero_grad()
        fitted = method.fit(prior, view, state)
        assert fitted is not None
        fitted.backward()
        optimizer.step()
    first = state.first.state_dict()
    assert all(torch.equal(first[name], known[2][name]) for name in first)
    assert any(not torch.equal(first[name], known[3][name]) for name in first)


ONE = NoiseSchedule(*torch.full((2, 1), 0.5, dtype=torch.float64).sqrt())
"A single level, where sigma / alpha is 1."


def sid_setting() -> tuple[GaussianMixture, NoisyView, Exact, torch.Tensor, torch.Tensor]:
    """Card 12.3: noise level 1, p = N(0.3, 0.5^2), q = N(1.1, 0.8^2), on a grid of (z, eps); and z and `|x - D|`."""
    prior, renders = (gaussian(torch.tensor([m], dtype=torch.float64), std, ONE) for m, std in ((0.3, 0.5), (MU, V)))
    # Scaled so that the nodes have variance one exactly: L is of second order, and then exact too.
    nodes = NODES / NODES.square().mean().sqrt()
    z, noise = (grid.reshape(-1, 1) for grid in torch.meshgrid(nodes, nodes, indexing="ij"))
    view = view_of(prior, MU + V * z, torch.zeros(len(z), dtype=torch.long), noise)
    attract = prior.predict_noise(view.noised, view.t, view.guide.positive)
    return prior, view, Exact(renders), z, (view.clean - ONE.denoise(view.noised, attract, view.t)).abs()


def test_t12_7_with_an_exact_student_the_loss_is_1_minus_alpha_fisher() -> None:
    """T12.7: `E[L omega] = (1 - alpha) E|D - D_phi|^2`; Fisher term 0.468956: 0.234478, and 0."""
    prior, view, student, _, size = sid_setting()
    for alpha, expected in ((0.5, 0.234478), (1.0, 0.0)):
        losses = SiD(correction=alpha).losses(prior, view, student, view.clean)
        # The card prints six digits: worst 4.9e-8.
        assert (losses * size[:, 0].clamp_min(1e-5)).mean().item() == pytest.approx(expected, abs=1e-6)


def test_t12_8_the_pull_on_mean_and_deviation() -> None:
    """T12.8: alpha 0.5 gives (0.5120, 0.2146), half of the slope of the Fisher term; 1 about (0.390, 0.186); 1.2 about
    (0.342, 0.174). The Fisher term is differentiated here with a student that follows."""
    prior, view, student, z, size = sid_setting()
    for alpha, mean, std in ((0.5, 0.5120, 0.2146), (1.0, 0.390, 0.186), (1.2, 0.342, 0.174)):
        pull = SiD(correction=alpha).residual(prior, view, student) * size.clamp_min(1e-5)
        # The card's numbers are Monte Carlo, and right to the digits printed: worst 4.6e-4.
        assert pull.mean().item() == pytest.approx(mean, abs=6e-4)
        assert (pull * z).mean().item() == pytest.approx(std, abs=6e-4)
        if alpha == 0.5:
            mu, v = torch.tensor([MU, V], dtype=torch.float64, requires_grad=True)
            # D = (s^2 z + m) / (s^2 + 1) for z ~ N(mu, v^2 + 1): the difference is slope z + offset.
            slope, offset = 0.25 / 1.25 - v**2 / (v**2 + 1), 0.3 / 1.25 - mu / (v**2 + 1)
            fisher = (slope * mu + offset) ** 2 + slope**2 * (v**2 + 1)
            half = 0.5 * torch.stack(torch.autograd.grad(fisher, (mu, v)))
            found = torch.stack([pull.mean(), (pull * z).mean()])
            # Measured 1.1e-16.
            torch.testing.assert_close(found, half, atol=1e-9, rtol=0)
