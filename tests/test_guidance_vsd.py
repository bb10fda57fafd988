import pytest
import torch
from analytic_students import Exact
from analytic_views import X, guide_of, levels, number, pair_prior, toy, view_of
from small_runs import small_distiller, small_plan, small_scene

from dreamkit.cameras import orbit
from dreamkit.guidance.base import Learning
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.lessons import fresh_draws
from dreamkit.guidance.pgc import PGC
from dreamkit.guidance.view import noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import renders
from dreamkit.training.loop import train
from dreamkit.training.run import Run

T = levels(500)


def test_t2_3_gaussian_renders_under_a_gaussian_prior() -> None:
    """T2.3: q = N(1.1, 0.8^2), p = N(0.3, 0.5^2), t = 500: pulls 0.45127272 on the mean, 0.05400606 on the deviation.

    With x = mu + v z, G is linear in z and in eps, so z = -1 and 1 with eps = 0 give the expectations exactly.
    """
    mu, v = 1.1, 0.8
    prior, student = toy(), Exact(toy(v, mu))
    z = number(-1.0, 1.0)
    view = view_of(prior, mu + v * z, levels(500, 500), number(0.0, 0.0))
    pull = VSD(weighting="uniform").residual(prior, view, student)
    # The card prints eight digits: worst 4.6e-9.
    assert pull.mean().item() == pytest.approx(0.45127272, abs=1e-8)
    assert (pull * z).mean().item() == pytest.approx(0.05400606, abs=1e-8)


def test_t2_4_where_renders_are_the_prior_nothing_pulls(generator: torch.Generator) -> None:
    """T2.4: exactly zero for every x_t."""
    prior = toy()
    clean = torch.randn(16, 1, dtype=torch.float64, generator=generator)
    t = torch.randint(1000, (16,), generator=generator)
    assert (VSD(weighting="ism").residual(prior, view_of(prior, clean, t), Exact(prior)) == 0).all()


def test_t2_6_scene_and_student_learn_apart(generator: torch.Generator) -> None:
    """T2.6: the scene's loss leaves no gradient in the student, the student's none in the scene."""
    prior, method = toy(), VSD()
    state = method.init(prior)
    assert state is not None
    theta = number(X, X).requires_grad_()
    view = view_of(prior, theta, levels(300, 700))
    distill(method, prior, view, state).loss.backward()
    assert theta.grad is not None
    assert all(p.grad is None for p in state.parameters())
    theta.grad = None
    fitted = method.fit(prior, view, state)
    assert fitted is not None
    fitted.backward()
    assert theta.grad is None
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in state.parameters())


def test_t12_12_a_student_that_is_the_prior_and_as_strongly_guided_cancels() -> None:
    """T12.12 (SwiftBrush): equal predictors and equal scales, exactly zero; without equal scales, CSD is left."""
    prior = toy()
    view = view_of(prior, number(X), T, number(0.4), guide_of(prior, 1, 4.5))
    assert VSD(guided_reference=True, text_dropout=0.1).residual(prior, view, Exact(prior)).item() == 0


def test_the_camera_scale_mixes_the_student_s_two_answers() -> None:
    """Card 2: `eps_phi(any) + s (eps_phi(c) - eps_phi(any))`."""
    prior, around = toy(), orbit([0.0, 120.0, 240.0])
    theta = number(-0.5, 0.4, 1.5)
    view = noisy_view(prior, theta, levels(500, 500, 500), guide_of(prior, 3), around, torch.Generator().manual_seed(0))
    state = Exact(renders(theta), around)

    def residual(scale: float) -> torch.Tensor:
        return VSD(camera_scale=scale).residual(prior, view, state)

    mixed = residual(0.0) + 0.3 * (residual(1.0) - residual(0.0))
    # Measured 1.4e-16.
    torch.testing.assert_close(residual(0.3), mixed, atol=1e-13, rtol=0)
    assert (residual(0.0) - residual(1.0)).abs().min() > 0.01


def test_the_student_s_draws_are_its_own_and_cover_all_levels() -> None:
    """Card 2: t' and eps' independent of the view's; camera dropout per view, at its rate."""
    prior = toy()
    view = view_of(prior, torch.zeros(4000, 1, dtype=torch.float64), torch.full((4000,), 500))
    t, noise, camera = fresh_draws(view, 0.1)
    assert t.min() < 5
    assert t.max() > 994
    # 4 000 draws: deviations of 0.016 and 0.005.
    assert abs((noise * view.noise).mean()) < 0.06
    assert (camera == 0).all(dim=1).double().mean().item() == pytest.approx(0.1, abs=0.02)


class Told(Exact):
    """Keeps what it was told of the prompt while it learnt."""

    def _answer(self, noised, t, condition, camera, strength):
        self.tokens = condition.tokens
        return super()._answer(noised, t, condition, camera, strength)


def test_a_share_of_the_prompts_is_dropped_while_the_student_learns() -> None:
    """Card 12.6: 0.1 for a student that is guided; view by view, and at 0, the default, nothing is drawn for it."""
    prior, count = pair_prior(), 2000
    student = Told(toy())
    clean, t = torch.zeros(count, 1, dtype=torch.float64), torch.full((count,), 500)

    def heard(method: VSD) -> tuple[torch.Tensor, torch.Tensor]:
        view = view_of(prior, clean, t, guide=guide_of(prior, count))
        method.fit(prior, view, student)
        return (student.tokens == view.guide.null.tokens).flatten(1).all(dim=1), torch.rand(1, generator=view.source)

    empty, _ = heard(VSD(text_dropout=0.1))
    # 2 000 draws: a deviation of 0.0067.
    assert empty.double().mean().item() == pytest.approx(0.1, abs=0.025)
    empty, after = heard(VSD())
    assert not empty.any()
    view = view_of(prior, clean, t)
    fresh_draws(view, 0.1)
    assert torch.equal(after, torch.rand(1, generator=view.source))
    with pytest.raises(ValueError, match="text_dropout is a share"):
        VSD(text_dropout=1.5)
    with pytest.raises(ValueError, match="text_dropout=0 never trains"):
        VSD(guided_reference=True)


def test_a_run_trains_the_student_at_its_own_pace() -> None:
    """The loop: `updates` steps of the student for each of the scene, at `rate`; wrapped or not."""
    plain = VSD(learning=Learning(rate=0.01, updates=3))
    for method in (plain, PGC(inner=plain)):
        run = Run(small_scene(), small_distiller(method), small_plan(), seed=0)
        assert run.learner is not None
        assert run.learner.param_groups[0]["lr"] == 0.01
        assert method.pace().updates == 3
    steps = list(train(small_scene(), small_distiller(plain), small_plan(steps=4)))
    assert [step.index for step in steps] == [1, 2, 3, 4]


def test_interrupted_and_resumed_is_the_same_run(tmp_path) -> None:
    """The student and its optimiser are part of the checkpoint."""

    def final(plan_steps: int, stop: int | None, path) -> torch.Tensor:
        scene = small_scene()
        for step in train(scene, small_distiller(VSD()), small_plan(plan_steps, every=2), path=path, resume=True):
            if step.index == stop:
                break
        return torch.cat([p.detach().flatten() for p in scene.parameters()])

    whole = final(6, None, tmp_path / "whole.safetensors")
    final(6, 4, tmp_path / "cut.safetensors")
    assert torch.equal(final(6, None, tmp_path / "cut.safetensors"), whole)


def test_a_state_that_is_no_student_is_refused() -> None:
    prior = toy()
    view = view_of(prior, number(X), T)
    with pytest.raises(TypeError, match="NoneType"):
        VSD().residual(prior, view, None)
    with pytest.raises(ValueError, match="dropout"):
        VSD(dropout=1.5)
    with pytest.raises(ValueError, match="updates >= 1"):
        Learning(updates=0)
