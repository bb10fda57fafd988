"""The exact reductions of method card 15.1: a test for each row, in the table's order.

Both sides get the same clean latents, levels, noise, prompts and weights. Where both do the same arithmetic they agree
to the last bit; where an identity holds between formulas that round differently, the tolerance says how differently.
The rows of BoostDream and VP3D come with these methods.
"""

import math
from dataclasses import replace

import pytest
import torch
from analytic_students import Exact, Says
from analytic_views import Counted, X, guide_of, levels, number, pair_prior, view_of

from dreamkit.cameras import orbit
from dreamkit.guidance.asd import ASD
from dreamkit.guidance.csd import CSD
from dreamkit.guidance.dds import DDS
from dreamkit.guidance.dmd2 import DMD2
from dreamkit.guidance.esd import ESD
from dreamkit.guidance.f_distill import FDistill
from dreamkit.guidance.inversion import Ladder
from dreamkit.guidance.ism import ISM
from dreamkit.guidance.pds import PDS
from dreamkit.guidance.pgc import PGC
from dreamkit.guidance.remembering import Remembering
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.sid import SiD
from dreamkit.guidance.trajectory import follow
from dreamkit.guidance.tsm import TSM
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.priors.analytic import GaussianMixture, gaussian, renders
from dreamkit.priors.perp_neg import PerpNeg
from dreamkit.priors.shaping import APG

SCALE = 7.5
T = levels(60, 480, 900)
MEANS = torch.tensor([[0.3, -0.4], [-0.9, 0.6], [0.5, 1.2]], dtype=torch.float64)
WEIGHTINGS = pytest.mark.parametrize("weighting", ["sds", "uniform", "ism"])


def plane() -> GaussianMixture:
    """Three prompts in the plane, so that their pulls are no multiples of each other; the empty prompt is all three."""
    return GaussianMixture(MEANS, torch.tensor([0.5, 0.7, 0.6], dtype=torch.float64))


@pytest.fixture
def drawn(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean latents and noise of three views."""
    clean, noise = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator)
    return clean, noise


@pytest.fixture
def view(drawn: tuple[torch.Tensor, torch.Tensor]) -> NoisyView:
    clean, noise = drawn
    return view_of(plane(), clean, T, noise, guide_of(plane(), 3, SCALE))


def pulled(method, view: NoisyView, state=None) -> torch.Tensor:
    return method.residual(plane(), view, state)


@WEIGHTINGS
def test_vsd_is_sds_where_the_student_says_the_noise(view: NoisyView, weighting: str) -> None:
    """T2.1: bit for bit."""
    ours = pulled(VSD(weighting=weighting), view, Says(plane(), view.noise))
    assert torch.equal(ours, pulled(SDS(weighting), view))


def test_vsd_of_one_picture_with_an_ideal_student_is_sds(view: NoisyView) -> None:
    """T2.2: `q_t = N(alpha x, sigma^2)`, so the student says the noise; in practice it has several views to follow."""
    one = view_of(plane(), view.clean[:1].repeat(3, 1), T, view.noise, view.guide)
    # The student computes the noise back: measured 0.
    torch.testing.assert_close(
        pulled(VSD(), one, Exact(renders(one.clean[:1]))), pulled(SDS(), one), atol=1e-13, rtol=0
    )


def around(view: NoisyView) -> tuple[NoisyView, Exact]:
    """The same views from three sides, each its own picture, and the ideal student."""
    cameras = orbit([0.0, 120.0, 240.0])
    source = torch.Generator().manual_seed(0)
    turned = noisy_view(plane(), view.clean, T, view.guide, cameras, source, view.noise)
    return turned, Exact(renders(view.clean), cameras)


@pytest.mark.parametrize(("entropy", "camera_scale"), [(0.0, 1.0), (1.0, 0.0)])
def test_esd_is_vsd_with_or_without_cameras(view: NoisyView, entropy: float, camera_scale: float) -> None:
    """T3.1: lambda 0 is VSD, lambda 1 is VSD that knows no camera; bit for bit."""
    turned, student = around(view)
    ours = pulled(ESD(entropy=entropy), turned, student)
    assert torch.equal(ours, pulled(VSD(camera_scale=camera_scale), turned, student))


@pytest.mark.parametrize(("entropy", "rows"), [(0.0, 3), (0.5, 6), (1.0, 3)])
def test_esd_does_not_ask_for_a_part_of_weight_zero(entropy: float, rows: int) -> None:
    """T3.1: the other branch is skipped, so that nothing in it (not even NaN) can change a bit."""
    prior, student = pair_prior(), Counted()
    view = view_of(prior, number(X, 0.1, -X), T)
    ESD(entropy=entropy).residual(prior, view, Exact(student))
    assert student.calls == [rows]


@WEIGHTINGS
def test_asd_without_a_shift_is_csd_at_scale_s_minus_1(view: NoisyView, weighting: str) -> None:
    """T4.1: `n + s (c - n) - c = (s - 1)(c - n)`."""
    # Worst 8.9e-16 of 5.8.
    torch.testing.assert_close(
        pulled(ASD(weighting, shift=0.0), view), (SCALE - 1) * pulled(CSD(weighting), view), atol=1e-13, rtol=0
    )


def test_asd_without_a_shift_and_a_scale_is_nothing(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    """T4.1, `s = 1`."""
    clean, noise = drawn
    plain = view_of(plane(), clean, T, noise, guide_of(plane(), 3, 1.0))
    # null + (text - null) may differ from text in the last bit; measured 0.
    assert pulled(ASD("uniform", shift=0.0), plain).abs().max() < 1e-15


def test_the_reconstruction_form_is_sds_with_the_ism_weight(view: NoisyView) -> None:
    """T1.3: `x - x0_guided`, with x0 computed from the prior's own prediction."""
    attract = view.guide.predict(plane(), view.noised, T)
    reconstruction = view.clean - plane().schedule.denoise(view.noised, attract, T)
    # Worst 8.9e-16 of 7.9.
    torch.testing.assert_close(pulled(SDS("ism"), view), reconstruction, atol=1e-13, rtol=0)


def test_sjc_is_sds_with_the_uniform_weight(view: NoisyView) -> None:
    """T1.4: SJC in its own variables, `z = x + sigma n`, `D = z - sigma eps`, `G = -(D - x) / sigma`."""
    sigma = plane().schedule.ratio(T, view.clean)
    z = view.clean + sigma * view.noise
    predicted = view.guide.predict(plane(), z / torch.sqrt(1 + sigma**2), T)
    sjc = -((z - sigma * predicted) - view.clean) / sigma
    # Worst 8.9e-16 of 5.2.
    torch.testing.assert_close(pulled(SDS("uniform"), view), sjc, atol=1e-13, rtol=0)


@WEIGHTINGS
def test_sds_at_two_scales_differs_by_csd(view: NoisyView, weighting: str) -> None:
    """T5.7: `SDS_s - SDS_{s-1} = CSD` in form B."""
    lower = replace(view, guide=guide_of(plane(), 3, SCALE - 1))
    difference = pulled(SDS(weighting), view) - pulled(SDS(weighting), lower)
    # Worst 9.4e-16 of 0.89.
    torch.testing.assert_close(difference, pulled(CSD(weighting), view), atol=1e-13, rtol=0)


def edit(view: NoisyView, source: torch.Tensor, prompt: str) -> NoisyView:
    mask = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    return replace(view, original=OriginalView(source, guide_of(plane(), 3, SCALE, prompt), mask))


@pytest.mark.parametrize("method", [DDS(), DDS("sds", keep_outside=1.0, keep_inside=0.5), PDS(), PDS(1)])
def test_dds_of_nothing_to_edit_is_nothing(view: NoisyView, method: DDS | PDS) -> None:
    """T5.1, T5.4: equal images and equal prompts, guided, inside and outside a mask; to the last bit. So is PDS."""
    assert (pulled(method, edit(view, view.clean, "0")) == 0).all()


def test_pds_with_consistent_coefficients_is_dds_times_chi(view: NoisyView, generator: torch.Generator) -> None:
    """T5.6."""
    edited = edit(view, torch.randn(3, 2, dtype=torch.float64, generator=generator), "1")
    _, chi = PDS(1).coefficients(plane().schedule, T, view.clean)
    # The card asks for 1e-12. psi is not exactly zero: worst 7.9e-15.
    torch.testing.assert_close(pulled(PDS(1), edited), chi * pulled(DDS(), edited), atol=1e-12, rtol=0)


def test_tsm_at_ratio_0_is_ism(view: NoisyView) -> None:
    """T6.5: bit for bit."""
    assert torch.equal(pulled(TSM(ratio=0.0), view), pulled(ISM(), view))


def test_tsm_at_ratio_1_has_no_interval(view: NoisyView) -> None:
    """T6.6: `lambda sigma/alpha [eps_guided(x_t) - eps(x_t, null)]`, bit for bit; nothing without guidance."""
    x_t = follow(plane(), view, Ladder(), 100.0).at(T)
    guided = view.guide.predict(plane(), x_t, T) - plane().predict_noise(x_t, T, view.guide.null)
    expected = 0.1 * plane().schedule.ratio(T, view.clean) * guided
    assert torch.equal(pulled(TSM(ratio=1.0, gap=100.0), view), expected)
    null_only = replace(view, guide=guide_of(plane(), 3, prompt=""))
    assert (pulled(TSM(ratio=1.0), null_only) == 0).all()


def test_ism_without_a_gap_is_csd_along_the_trajectory(view: NoisyView) -> None:
    """T6.4 with `y- = null`: the same weight times the guidance scale, at the same x_t."""
    arrived = follow(plane(), view, Ladder(), 0.0).noised
    same_place = replace(view, noised=arrived, noise=plane().schedule.noise_of(arrived, view.clean, T))
    # Worst 8.9e-16 of 6.9.
    torch.testing.assert_close(
        pulled(ISM(gap=0.0, strength=1.0), view), SCALE * pulled(CSD("ism"), same_place), atol=1e-12, rtol=0
    )


@WEIGHTINGS
def test_f_distill_of_the_reverse_kl_is_vsd(view: NoisyView, weighting: str) -> None:
    """T12.1: `h = 1`, bit for bit."""
    student = Exact(gaussian(MEANS.mean(dim=0), 0.8))
    state = Remembering(student, 8, number(0.0))
    ours = pulled(FDistill(divergence="reverse_kl", weighting=weighting), view, state)
    assert torch.equal(ours, pulled(VSD(weighting=weighting), view, student))


def test_dmd2_points_where_vsd_points(view: NoisyView) -> None:
    """T12.9: one positive factor for each view, that of its normaliser."""
    student = Exact(gaussian(MEANS.mean(dim=0), 0.8))
    ours, vsd = (pulled(method, view, student) for method in (DMD2(), VSD()))
    # Worst 1.1e-16 from 1.
    assert (torch.cosine_similarity(ours, vsd, dim=1) - 1).abs().max() < 1e-12


def test_the_loss_of_sid_vanishes_where_the_student_is_the_prior(view: NoisyView) -> None:
    """`D_phi = D`: bit for bit, whatever alpha is; a Gaussian, as guidance rounds where text and null differ."""
    prior = gaussian(MEANS[0], 0.5)
    same = replace(view, guide=guide_of(prior, 3))
    for correction in (0.5, 1.0, 1.2):
        losses = SiD(correction=correction).losses(prior, same, Exact(prior), same.clean)
        assert (losses == 0).all()


def test_apg_that_keeps_everything_is_cfg(view: NoisyView) -> None:
    """T13.1: eta = 1, an infinite radius, no momentum."""
    kept = replace(view, guide=guide_of(plane(), 3, SCALE, shaping=APG(eta=1.0, radius=math.inf)))
    # Through clean latents and back: worst 4.4e-16 of 3.6.
    torch.testing.assert_close(pulled(SDS(), kept), pulled(SDS(), view), atol=1e-12, rtol=0)
    cut = replace(view, guide=guide_of(plane(), 3, SCALE, shaping=APG()))
    assert (pulled(SDS(), cut) - pulled(SDS(), view)).abs().max() > 0.1


def test_perp_neg_without_weights_is_cfg(view: NoisyView) -> None:
    """T13.7: `w_i = 0`, bit for bit."""
    # The two other views look like the other prompt, so that their weights matter.
    other = plane().embed(["1"] * 3)
    guide = replace(guide_of(plane(), 3, SCALE, shaping=PerpNeg()), extras=(other, other))
    none = replace(view, guide=replace(guide, weights=torch.zeros(3, 2)))
    assert torch.equal(pulled(SDS(), none), pulled(SDS(), view))
    some = replace(view, guide=replace(guide, weights=-torch.ones(3, 2)))
    assert (pulled(SDS(), some) - pulled(SDS(), view)).abs().max() > 0.1


def test_pgc_below_its_threshold_is_the_identity(view: NoisyView, generator: torch.Generator) -> None:
    """T7.3: all `|g| <= c`, bit for bit; and it never touches the residual."""
    threshold, views = 0.1, 4
    gradient = torch.rand(views, 8, 8, 3, dtype=torch.float64, generator=generator) * 2 - 1
    gradient = gradient * (threshold / views)
    method = PGC(SDS(), threshold)
    assert torch.equal(method.on_image_gradient(gradient), gradient)
    assert torch.equal(pulled(method, view), pulled(SDS(), view))
