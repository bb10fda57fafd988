"""f-distill with a ratio in closed form, by the line integral and by a discriminator: method card 12.1."""

import pytest
import torch
from analytic_ratio import ExactRatio, log_density
from analytic_students import Exact
from analytic_views import Counted, X, guide_of, levels, number, pair_prior, toy, view_of
from tiny_models import save_tiny_model
from torch.nn import functional

from dreamkit.cameras import orbit
from dreamkit.construct import plain, read_spec
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.discriminator import Discriminator
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.divergence import WEIGHTS
from dreamkit.guidance.f_distill import FDistill
from dreamkit.guidance.head import Head
from dreamkit.guidance.ratio import LineIntegral
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.reweighted import difference
from dreamkit.guidance.sampling import draw_samples
from dreamkit.guidance.view import NoisyView, noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.latent_diffusion import LatentDiffusion
from dreamkit.priors.prompts import ViewWording, embed_prompts

MU, V = 1.1, 0.8
"The renders: q = N(1.1, 0.8^2)."
NODES = torch.special.ndtri((torch.arange(200, dtype=torch.float64) + 0.5) / 200).unsqueeze(1)
LEARNT = Discriminator(samples=12, steps=5, hidden=16)


def some_view(count: int = 4, scale: float = 1.0, seed: int = 3) -> NoisyView:
    generator, prior = torch.Generator().manual_seed(seed), pair_prior()
    clean, noise = (torch.randn(count, 1, dtype=torch.float64, generator=generator) for _ in range(2))
    guide = guide_of(prior, count, scale)
    return view_of(prior, MU + V * clean, torch.full((count,), 300), noise, guide, seed=seed)


def state_of(method: FDistill) -> Remembering:
    """A fresh state, whose student is exact."""
    prior = pair_prior()
    like = number(0.0)
    return Remembering(Exact(toy(V, MU)), method.window, like, method.ratio.init(prior, like))


@pytest.mark.parametrize("ratio", [LineIntegral(), LineIntegral(points=5, dimensions=1.0), LEARNT])
def test_t12_1_the_reverse_kl_is_vsd_with_any_ratio(ratio) -> None:
    """T12.1: h = 1, bit for bit, guided or not."""
    method = FDistill(divergence="reverse_kl", ratio=ratio)
    for scale in (1.0, 7.5):
        view, state = some_view(scale=scale), state_of(method)
        ours = method.residual(pair_prior(), view, state)
        assert torch.equal(ours, VSD().residual(pair_prior(), view, state.student))


class Asked(Exact):
    """Remembers how many rows each of its calls had."""

    def __init__(self) -> None:
        super().__init__(toy(V, MU))
        self.calls: list[int] = []

    def _answer(self, noised, t, condition, camera, strength):
        self.calls.append(len(noised))
        return super()._answer(noised, t, condition, camera, strength)


@pytest.mark.parametrize(
    ("ratio", "rows"),
    [(LineIntegral(), (16, 8)), (LineIntegral(points=4), (32, 16)), (ExactRatio(toy(), toy()), (8, 4))],
)
def test_one_call_of_each_network_for_all_points(ratio, rows: tuple[int, int]) -> None:
    """Four views: two conditions each for the prior, one for the student, at x_t and wherever else the ratio looks."""
    prior, student, method = Counted(), Asked(), FDistill(ratio=ratio)
    method.residual(prior, some_view(scale=7.5), Remembering(student, 64, number(0.0)))
    assert (prior.calls, student.calls) == ([rows[0]], [rows[1]])


@pytest.mark.parametrize("points", [2, 4])
def test_points_asked_together_say_what_they_say_alone(points: int) -> None:
    """The weight from one batched call is that of a call for each point."""
    prior, student, view = pair_prior(), Exact(toy(V, MU)), some_view(scale=7.5)
    ratio = LineIntegral(points=points, dimensions=1.0)
    method = FDistill(divergence="forward_kl", ratio=ratio)
    ours = method.residual(prior, view, Remembering(student, 64, number(0.0)))
    alone = [difference(prior, view, student, each.unsqueeze(0)) for each in ratio.path(view.noised)]
    _, sigma = prior.schedule.at(view.t, view.noised)
    memory = Remembering(student, 64, number(0.0))
    whole = torch.trapezoid((-torch.cat(alone) / sigma * view.noised).sum(dim=2), dx=1 / (points - 1), dim=0)
    h = memory.normalize(memory.centred(whole, view.t).exp().clamp(*method.clip))
    # Measured 0.
    torch.testing.assert_close(ours, sigma**2 * h.unsqueeze(1) * alone[-1][0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("divergence", WEIGHTS)
def test_a_fresh_discriminator_tells_nothing_apart(divergence: str) -> None:
    """Its logit is 0, so r = 1 and every divergence begins as VSD, bit for bit."""
    method, view = FDistill(divergence=divergence, ratio=LEARNT), some_view()
    state = state_of(method)
    ours = method.residual(pair_prior(), view, state)
    assert torch.equal(ours, VSD().residual(pair_prior(), view, state.student))


def test_t12_3_one_view_a_step_is_weighed_against_the_steps_before() -> None:
    """T12.3 and pitfall 16: with B = 1 the weights differ from 1, and their mean over the window is 1."""
    exact = ExactRatio(toy(), toy(V, MU))
    method, prior = FDistill(divergence="forward_kl", ratio=exact, window=50), toy()
    state, factors = state_of(method), []
    for seed in range(50):
        one = some_view(1, seed=seed)
        ours = method.residual(prior, one, state)
        factors.append(float(ours / VSD().residual(prior, one, state.student)))
    assert factors[0] == 1.0
    assert torch.tensor(factors[10:]).std() > 0.3
    given = torch.tensor([float(h) for h in state.recent])
    assert (given / given.mean()).mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("divergence", WEIGHTS)
def test_the_line_integral_weighs_as_the_exact_ratio_does(divergence: str) -> None:
    """T12.2 with the default ratio: one start for all views, and the mean ratio of 1 gives the rest back."""
    prior, renders, wide = toy(), toy(V, MU), (1e-9, 1e9)
    nodes = torch.special.ndtri((torch.arange(60, dtype=torch.float64) + 0.5) / 60)
    z, noise = (grid.reshape(-1, 1) for grid in torch.meshgrid(nodes, nodes, indexing="ij"))
    for level in (100, 500):
        pulls = []
        for ratio in (LineIntegral(dimensions=1.0), ExactRatio(prior, renders)):
            method = FDistill(divergence=divergence, ratio=ratio, weighting="uniform", window=len(z), clip=wide)
            view = view_of(prior, MU + V * z, torch.full((len(z),), level), noise)
            ours = method.residual(prior, view, Remembering(Exact(renders), len(z), z))
            pulls.append(torch.stack([ours.mean(), (ours * z).mean()]))
        # Worst 0.0005 (Neyman): these nodes' mean ratio is not quite 1. One start for each view gave 0.37 more.
        torch.testing.assert_close(pulls[0], pulls[1], atol=2e-3, rtol=0)


def test_ratios_of_one_view_a_step_are_centred_over_the_steps_before() -> None:
    """Each tenth of the levels has its own mean; a checkpoint keeps them."""
    memory = Remembering(Exact(toy(V, MU)), 4, NODES)
    given = {
        level: torch.randn(12, generator=torch.Generator().manual_seed(level), dtype=torch.float64)
        for level in (120, 180, 730)
    }
    for k in range(12):
        found = {level: memory.centred(log_r[k : k + 1], torch.tensor([level])) for level, log_r in given.items()}
    low = torch.stack([given[120], given[180]], dim=1).flatten()
    # Forty are kept, and 36 were given: all of them count.
    expected = {180: low[-1] - low.exp().mean().log(), 730: given[730][-1] - given[730].exp().mean().log()}
    for level, value in expected.items():
        # Worst 2.2e-16.
        assert found[level].item() == pytest.approx(value.item(), abs=1e-12)
    assert "ratios" in memory.state_dict()


def fitted(divergence: str, steps: int = 80) -> tuple[float, float, float]:
    """Mean and deviation of a Gaussian scene that follows f-distill's G, and its `KL(q | p)`, at level 0."""
    prior = GaussianMixture(number(-2.0, 2.0), 0.3)
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer, count, guide = torch.optim.Adam([theta], lr=0.15), len(NODES), guide_of(prior, len(NODES), prompt="")
    t = torch.zeros(count, dtype=torch.long)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.15 * (1 - step / steps)
        mean, std = float(theta[0].detach()), float(theta[1].detach().exp())
        renders = toy(std, mean)
        ratio = ExactRatio(prior, renders)
        method = FDistill(divergence=divergence, ratio=ratio, weighting="uniform", window=count, clip=(1e-9, 1e9))
        view = view_of(prior, theta[0] + theta[1].exp() * NODES, t, torch.zeros_like(NODES), guide)
        optimizer.zero_grad()
        distill(method, prior, view, Remembering(Exact(renders), count, NODES)).loss.backward()
        optimizer.step()
    mean, std = float(theta[0].detach()), float(theta[1].detach().exp())
    x = mean + std * NODES
    return mean, std, float((log_density(toy(std, mean), x, t) - log_density(prior, x, t)).mean())


def test_t12_4_forward_kl_covers_both_modes_and_reverse_kl_takes_one() -> None:
    """T12.4: p = N(-2, 0.3^2) / 2 + N(2, 0.3^2) / 2. Forward: mean 0, deviation about 2.0; reverse: 2, 0.3, log 2."""
    # Measured -0.009 and 2.014, sqrt(4 + 0.3^2) being 2.022; then 2.007, 0.304 and 0.6934.
    mean, std, _ = fitted("forward_kl")
    assert mean == pytest.approx(0.0, abs=0.05)
    assert std == pytest.approx(2.022, abs=0.05)
    mean, std, divergence = fitted("reverse_kl")
    assert mean == pytest.approx(2.0, abs=0.01)
    assert std == pytest.approx(0.3, abs=0.01)
    assert divergence == pytest.approx(0.6931, abs=0.01)


def test_samples_are_those_of_the_guided_prior() -> None:
    """DDIM on N(0.3, 0.5^2), and on two components guided by CFG, which lie beyond the prompt's mean."""
    view = view_of(toy(), torch.zeros(2000, 1, dtype=torch.float64), torch.full((2000,), 500))
    found = draw_samples(toy(), view, 60)
    # Measured 0.270 and 0.476: two standard errors are 0.022 and 0.016, and 60 steps make them a little narrow.
    assert found.mean().item() == pytest.approx(0.3, abs=0.05)
    assert found.std().item() == pytest.approx(0.5, abs=0.05)
    prior = pair_prior()
    zeros, t = torch.zeros(500, 1, dtype=torch.float64), torch.full((500,), 500)
    guided = view_of(prior, zeros, t, guide=guide_of(prior, 500, 3.0))
    # Measured 0.77, and 0.27 without guidance.
    assert draw_samples(prior, guided, 30).mean() > 0.5


def test_the_discriminator_learns_the_ratio() -> None:
    """The optimum of its loss is `log p_t / q_t`: against the closed form where the renders are."""
    prior, method = toy(), FDistill(ratio=Discriminator(samples=2000, steps=25, hidden=32))
    state = method.init(prior)
    assert isinstance(state, Remembering)
    optimizer, generator = torch.optim.AdamW(state.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 80)
        clean = MU + V * torch.randn(250, 1, dtype=torch.float64, generator=generator)
        view = view_of(prior, clean, torch.full((250,), 300), seed=step)
        optimizer.zero_grad()
        loss = method.fit(prior, view, state)
        assert loss is not None
        loss.backward()
        optimizer.step()
    assert isinstance(state.head, Head)
    assert int(state.head.made) == 2000
    for level in (100, 300, 600):
        view = view_of(prior, MU + V * NODES, torch.full((200,), level), torch.zeros_like(NODES))
        found = method.ratio.log_ratio(prior, view, state, NODES.unsqueeze(0))
        exact = log_density(toy(), view.noised, view.t) - log_density(toy(V, MU), view.noised, view.t)
        # The middle 80 % of the renders. Measured 0.099, 0.075, 0.073, and log r spreads by 1.8, 0.69, 0.12.
        assert (found - exact)[20:180].abs().mean() < 0.15


def test_samples_come_in_by_the_batch_and_stay() -> None:
    """Twelve of them after three calls with four views; later calls draw none, and a checkpoint keeps them."""
    prior, method = pair_prior(), FDistill(ratio=LEARNT)
    state = method.init(prior)
    assert isinstance(state, Remembering)
    head = state.head
    assert isinstance(head, Head)
    counts, kept = [], []
    for seed in range(5):
        method.fit(prior, some_view(seed=seed), state)
        counts.append(int(head.made))
        kept.append(head.samples.clone())
    assert counts == [4, 8, 12, 12, 12]
    assert not torch.equal(kept[1], kept[2])
    assert torch.equal(kept[2], kept[4])
    assert {"head.samples", "head.made", "recent"} <= set(state.state_dict())
    again = method.init(prior)
    assert isinstance(again, Remembering)
    again.load_state_dict(state.state_dict())
    assert torch.equal(*(method.residual(prior, some_view(), s) for s in (state, again)))


def test_gradients_keep_apart_with_a_discriminator() -> None:
    prior, method = toy(), FDistill(ratio=LEARNT, adversarial=0.1)
    state, theta = method.init(prior), number(X, -X).requires_grad_()
    assert isinstance(state, Remembering)
    view = view_of(prior, theta, levels(300, 700))
    distill(method, prior, view, state).loss.backward()
    assert theta.grad is not None
    assert all(p.grad is None for p in state.parameters())
    theta.grad = None
    loss = method.fit(prior, view, state)
    assert loss is not None
    loss.backward()
    assert theta.grad is None
    assert isinstance(state.head, Head)
    assert state.head.weights[-1].grad is not None
    assert any(p.grad is not None for p in state.student.parameters())


def test_the_adversarial_term_is_the_gradient_of_softplus() -> None:
    """Against finite differences, with a head that is not fresh; weight 0 is f-distill without it, bit for bit."""
    prior, view = pair_prior(), some_view()
    bare, state = FDistill(ratio=LEARNT), state_of(FDistill(ratio=LEARNT))
    head = state.head
    assert isinstance(head, Head)
    with torch.no_grad():
        head.weights[-1].normal_(generator=torch.Generator().manual_seed(1)).mul_(0.1)
    pull = head.pull(prior, view)

    def loss(clean: torch.Tensor) -> torch.Tensor:
        noised = prior.schedule.add_noise(clean, view.noise, view.t)
        with torch.no_grad():
            return functional.softplus(-head(prior, noised, view.t, view.guide.null)).unsqueeze(1)

    step = 1e-5
    slope = (loss(view.clean + step) - loss(view.clean - step)) / (2 * step)
    # Central differences: worst 1.7e-11 of 0.22.
    torch.testing.assert_close(pull, slope, atol=1e-8, rtol=0)
    with_it = FDistill(ratio=LEARNT, adversarial=0.5)
    torch.testing.assert_close(
        with_it.residual(prior, view, state), bare.residual(prior, view, state) + 0.5 * pull, atol=1e-12, rtol=0
    )


def test_the_head_reads_the_middle_of_a_unet(tmp_path, generator: torch.Generator) -> None:
    """Normalised at each place, by a hook that leaves; and a step of f-distill with it moves the latents."""
    prior = LatentDiffusion(str(save_tiny_model(tmp_path)), cache_embeddings=False)
    guide = TextGuide(embed_prompts(prior, [ViewWording().prompts("a red mug")]), 7.5).at(orbit([0.0, 120.0]))
    clean = torch.randn(2, *prior.latent_shape, generator=generator).requires_grad_()
    view = noisy_view(prior, clean, levels(300, 700), guide, orbit([0.0, 120.0]), generator)
    features = prior.features(view.noised, view.t, guide.null)
    assert features.shape == (2, 16, 4, 4)
    # Float32: worst 6.0e-8.
    assert features.mean(dim=1).abs().max() < 1e-5
    assert not prior.unet.mid_block._forward_hooks
    assert not features.requires_grad
    method = FDistill(ratio=Discriminator(samples=4, steps=2, hidden=8), adversarial=0.1)
    state = method.init(prior)
    fitted = method.fit(prior, view, state)
    assert fitted is not None
    fitted.backward()
    distill(method, prior, view, state).loss.backward()
    assert clean.grad is not None
    assert clean.grad.isfinite().all()
    assert clean.grad.abs().max() > 0
    assert all(weight.grad is None for weight in prior.unet.parameters())


def test_a_prior_without_a_unet_gives_its_noise_to_the_head() -> None:
    prior, view = pair_prior(), some_view()
    noise = prior.predict_noise(view.noised, view.t, view.guide.null)
    assert torch.equal(prior.features(view.noised, view.t, view.guide.null), torch.cat([view.noised, noise], dim=1))


def test_recipes_choose_the_ratio_and_errors_say_what_is_wrong() -> None:
    table = {"type": "f_distill", "ratio": {"type": "discriminator", "samples": 64}, "adversarial": 0.001}
    method = read_spec("guidance", table, AbstractGuidance).build()
    assert method == FDistill(ratio=Discriminator(samples=64), adversarial=0.001)
    assert read_spec("guidance", plain(method), AbstractGuidance).build() == method
    with pytest.raises(ValueError, match="discriminator"):
        FDistill(adversarial=0.1)
    with pytest.raises(ValueError, match="points >= 2"):
        LineIntegral(points=1)
    with pytest.raises(ValueError, match="speed > 0"):
        Discriminator(speed=0.0)
