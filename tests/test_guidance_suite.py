"""The fast suite of method card 15.2, over every guidance that the package holds: a new method is tested from its first
day, and needs a row in `TRIPLES` below."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from analytic_views import guide_of, levels
from torch import nn

from dreamkit.cameras import orbit
from dreamkit.construct import options
from dreamkit.guidance.asd import ASD
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.cds import CDS
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.pds import PDS
from dreamkit.guidance.reweighted import AbstractReweighted
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.guidance.wrapper import AbstractWrapper
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.draws import PackedGenerators, Source
from dreamkit.priors.gaussian_student import GaussianStudent

METHODS = options(AbstractGuidance)
every_method = pytest.mark.parametrize("name", METHODS)
M, X = torch.tensor([[0.3, -0.4]], dtype=torch.float64), torch.tensor([[1.4, 0.5]], dtype=torch.float64)
NODES = torch.special.ndtri((torch.arange(10, dtype=torch.float64) + 0.5) / 10)
"Ten numbers of equal weight that stand for a normal distribution; symmetric, so that odd terms cancel exactly."
NOISE = torch.cartesian_prod(NODES, NODES)


def made(name: str) -> AbstractGuidance:
    """The method with its defaults; wrappers hold SDS."""
    cls = METHODS[name]
    return cls(SDS()) if issubclass(cls, AbstractWrapper) else cls()


def prior_of() -> GaussianMixture:
    """In the plane, around one mean: prompt "0" is narrow, "1" is wide, the empty prompt is half of each.

    So the text pulls more than the null prompt does, and methods that only know their difference have a sign too.
    """
    return GaussianMixture(M.repeat(2, 1), torch.tensor([0.5, 1.5], dtype=torch.float64))


def look(
    prior: GaussianMixture,
    clean: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    scale: float = 1.0,
    source: Source | None = None,
    group: int = 1,
) -> NoisyView:
    """Views at the end of a run (DisBack has arrived at the prior), edited from pictures of the prior's mean."""
    count = len(clean)
    cameras = replace(orbit([360.0 * i / count for i in range(count)]), group=group)
    guide = guide_of(prior, count, scale)
    original = OriginalView(M.repeat(count, 1), guide)
    source = torch.Generator().manual_seed(0) if source is None else source
    return noisy_view(prior, clean, t, guide, cameras, source, noise, 1.0, original, clean)


def state_of(method: AbstractGuidance, prior: GaussianMixture, mean: torch.Tensor, std: float) -> nn.Module | None:
    """A fresh state, whose students have learnt that all pictures are N(mean, std^2)."""
    state = method.init(prior)
    for student in [] if state is None else state.modules():
        if isinstance(student, GaussianStudent):
            with torch.no_grad():
                student.slope[0] = student.anywhere[:] = mean[0] - student.start
                student.growth.fill_(float(torch.tensor(std / student.std).log()))
    return state


def mean_pull(name: str, clean: torch.Tensor) -> torch.Tensor:
    """G of one picture at level 700, where `sigma / alpha` is 3.4, averaged over noise; no guidance, ideal students."""
    prior, method, count = prior_of(), made(name), len(NOISE)
    # One group: whatever a method draws, it draws once, so that antithetic noises stay pairs.
    view = look(prior, clean.repeat(count, 1), levels(*[700] * count), NOISE, group=count)
    return method.residual(prior, view, state_of(method, prior, clean, 1e-6)).mean(dim=0)


@every_method
def test_the_mean_pull_points_away_from_the_prior(name: str) -> None:
    """15.2, sign: the cosine of G with x - m, after averaging over noise, without guidance, above the prior's width."""
    pull = mean_pull(name, X)
    # Worst 3.0e-8 from 1, of the two that divide by each view's own size (DMD2, SiD).
    assert torch.cosine_similarity(pull, (X - M)[0], dim=0) > 1 - 1e-6


@every_method
def test_at_the_prior_s_mean_nothing_pulls(name: str) -> None:
    """15.2, zero: everything is symmetric there."""
    # Worst 9.6e-16.
    assert mean_pull(name, M).abs().max() < 1e-12


@every_method
def test_gradients_reach_the_scene_and_the_student_apart_and_never_the_prior(name: str) -> None:
    """15.2, isolation: the prior's tensors even ask for a gradient."""
    prior, method = prior_of(), made(name)
    state = method.init(prior)
    learnt = [] if state is None else [p for p in state.parameters() if p.requires_grad]
    frozen = [tensor.requires_grad_() for tensor in (prior.means, prior.stds.clone(), prior.weights)]
    theta = X.repeat(2, 1).requires_grad_()
    view = look(prior, theta, levels(300, 700), NOISE[:2], 7.5)
    distill(method, prior, view, state).loss.backward()
    assert theta.grad is not None
    assert theta.grad.isfinite().all()
    assert (theta.grad != 0).any()
    assert all(tensor.grad is None for tensor in (*frozen, *learnt))
    theta.grad = None
    fitted = method.fit(prior, view, state)
    assert (fitted is None) == (not learnt)
    if fitted is not None:
        fitted.backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in learnt)
    assert all(tensor.grad is None for tensor in (theta, *frozen))


@every_method
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    """15.2, determinism: residual and loss; nothing is drawn from the global generator."""
    prior, method = prior_of(), made(name)

    def run() -> list[torch.Tensor]:
        state = method.init(prior)
        view = look(prior, X.repeat(3, 1), levels(60, 500, 900), NOISE[:3], 7.5)
        pull, loss = method.residual(prior, view, state), method.fit(prior, view, state)
        return [pull] if loss is None else [pull, loss]

    torch.manual_seed(1)
    first, untouched = run(), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), untouched)
    assert all(torch.equal(*pair) for pair in zip(first, run(), strict=True))


@every_method
def test_a_batch_is_the_mean_of_its_views(name: str) -> None:
    """15.2, batch split: four views give the mean of four runs with one, each scene drawing from its own generator."""
    prior, method, t = prior_of(), made(name), levels(60, 300, 600, 950)
    theta = X.clone().requires_grad_()

    def residual(rows: slice, source: Source) -> torch.Tensor:
        clean = theta.repeat(len(t[rows]), 1)
        view = look(prior, clean, t[rows], NOISE[7:11][rows], 7.5, source)
        result = distill(method, prior, replace(view, cameras=around[rows]), state_of(method, prior, X, 0.8))
        gradients.append(torch.autograd.grad(result.loss, theta)[0])
        return result.residual

    around, gradients = orbit([0.0, 90.0, 180.0, 270.0]), []
    seeds = [torch.Generator().manual_seed(seed) for seed in range(4)]
    together = residual(slice(0, 4), PackedGenerators(tuple(seeds), (1, 1, 1, 1)))
    alone = [residual(slice(i, i + 1), torch.Generator().manual_seed(i)) for i in range(4)]
    if isinstance(method, AbstractReweighted):
        # Weights are divided by the mean over recent views (T12.3): each view's G only keeps its direction.
        assert torch.cosine_similarity(together, torch.cat(alone), dim=1).min() > 1 - 1e-12
        return
    # Measured 0.
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradients[0], torch.stack(gradients[1:]).mean(dim=0), atol=1e-12, rtol=0)


class Talk(GaussianMixture):
    """Says 2 t/500 under the prompt and -t/500 under the empty one, with the slope 1; its student says 0.25."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(2, 1, dtype=torch.float64), 1.0)

    def _predict(self, noised, t, condition):
        said = condition.tokens[:, 0] @ torch.tensor([2.0, -4.0], dtype=torch.float64)
        return (said * t / 500).unsqueeze(1) + (noised - noised.detach())

    def student(self, rank: int = 4) -> GaussianStudent:
        return Quarter(torch.zeros(1, dtype=torch.float64), 1.0, self.schedule)


class Quarter(GaussianStudent):
    def _answer(self, noised, t, condition, camera, strength):
        return torch.full_like(noised, 0.25)


def implied_noise(r: torch.Tensor) -> float:
    """SDI's noise: from eps = 0.5 at level 0 by Euler steps of `-1 - 7.5 (2 + 1)` times t/500; r = sigma / alpha."""
    climbed = sum((r[t + 100] - r[t]) * -23.5 * t / 500 for t in range(0, 500, 100))
    return float((r[0] * 0.5 + climbed) / r[500])


TRIPLES: dict[str, Callable[[float, torch.Tensor], float]] = {
    "sds": lambda w, r: w * (8 - 0.5),
    "pgc": lambda w, r: w * (8 - 0.5),
    "score_clamp": lambda w, r: w * (8 - 0.5),
    "hifa": lambda w, r: float(r[500]) * (8 - 0.5),
    "sdi": lambda w, r: w * (8 - implied_noise(r)),
    "vsd": lambda w, r: w * (8 - 0.25),
    "esd": lambda w, r: w * (8 - 0.25),
    "disback": lambda w, r: w * (8 - 0.25),
    "f_distill": lambda w, r: w * (8 - 0.25),
    "dmd2": lambda w, r: (8 - 0.25) / (8 - 0.5),
    # D_phi - x = 0.25 r, the slope of D - D_phi is -sigma, and |x - D| = 7.5 r.
    "sid": lambda w, r: -(w**0.5) * (0.5 - 0.25) / (8 - 0.5),
    "uni_instruct": lambda w, r: -(w**0.5) * (0.5 - 0.25) / (8 - 0.5),
    # t' = 548, and no guidance there.
    "asd": lambda w, r: w * (8 - 2 * 548 / 500),
    "csd": lambda w, r: 2 + 1,
    # The source's prompt is the empty one.
    "dds": lambda w, r: 8 + 1,
    # psi = 0.032 and chi = 0.082 in the card, for level 501 and the pictures 1 and 0.25.
    "pds": lambda w, r: 0.032 * 0.75 + 0.082 * 9,
    # s = 420, mu = 496.
    "ism": lambda w, r: 0.1 * float(r[500]) * (8 + 420 / 500),
    "tsm": lambda w, r: 0.1 * float(r[500]) * (8 + 496 / 500),
    # Levels 600 and 500.
    "cds": lambda w, r: 8 * 600 / 500 - 8,
}
"""G at x = 1, eps = 0.5, t = 500 for the triple eps(y) = 2, eps(null) = -1, s = 3: `-1 + 3 (2 + 1) = 8`, where form A
would say 11. Arguments: the weight sigma^2, and sigma / alpha of all levels."""


def test_every_method_has_a_triple() -> None:
    assert set(TRIPLES) == set(METHODS), "a new method needs a row in TRIPLES: its G by hand"


@pytest.mark.parametrize("name", TRIPLES)
def test_the_guidance_scale_is_form_b_in_every_method(name: str) -> None:
    """15.2, item 4: pitfall 1 of the cards. Nothing else than the attracting prediction is guided."""
    prior, one = Talk(), torch.ones(1, 1, dtype=torch.float64)
    method = {"asd": ASD(random=False), "cds": CDS(spread=0)}.get(name, made(name))
    guide = guide_of(prior, 1, 3.0)
    original = OriginalView(0.25 * one, guide_of(prior, 1, 3.0, prompt=""))
    source = torch.Generator().manual_seed(0)
    view = noisy_view(prior, one, levels(500), guide, orbit([0.0]), source, 0.5 * one, 1.0, original, one)
    found = distill(method, prior, view, method.init(prior)).residual
    ratios = prior.schedule.sigmas / prior.schedule.alphas
    expected = TRIPLES[name](float(prior.schedule.sigmas[500] ** 2), ratios)
    # Worst relative 2.1e-15; the card prints two digits of PDS's coefficients.
    assert found.item() == pytest.approx(expected, rel=0.01 if isinstance(method, PDS) else 1e-12)
