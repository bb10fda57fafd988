"""Regularisers: closed forms, minima, and gradients that stay finite where formulas meet their edges."""

import math
from dataclasses import replace

import pytest
import torch

from dreamkit.mesh import Mesh
from dreamkit.rendering import RaySamples, Rendering, SurfaceState
from dreamkit.representations import mesh_energies
from dreamkit.training import regularizers
from dreamkit.vectors import normalize


def image(alpha: torch.Tensor, samples: RaySamples | None = None, normal: torch.Tensor | None = None) -> Rendering:
    alpha = alpha.view(1, 1, -1, 1)
    return Rendering(alpha.expand(1, 1, -1, 3), alpha, alpha, normal, samples)


def rays(weights: torch.Tensor, distance: torch.Tensor, normal=None, length: float = 0.1) -> Rendering:
    """A rendering whose rays have the same number of samples, given as `rays samples`."""
    count, each = weights.shape
    flat = count * each
    index = torch.arange(count).repeat_interleave(each)
    forward = torch.tensor([0.0, 0.0, -1.0], dtype=weights.dtype).expand(flat, 3)
    lengths = torch.full((flat,), length, dtype=weights.dtype)
    samples = RaySamples(index, distance.reshape(-1), lengths, weights.reshape(-1), forward, normal, count)
    return image(weights.sum(dim=1), samples)


def random_rays(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.rand(5, 7, generator=generator, dtype=torch.float64)
    weights = weights / weights.sum(dim=1, keepdim=True) * torch.tensor([[0.9], [0.3], [0.7], [0.0], [1.0]])
    return weights, torch.rand(5, 7, generator=generator, dtype=torch.float64).cumsum(dim=1) + 1


def test_t14_2_orientation_is_zero_for_normals_that_face_the_camera(generator):
    weights, distance = random_rays(generator)
    towards = normalize(torch.randn(35, 3, generator=generator, dtype=torch.float64))
    towards[:, 2] = towards[:, 2].abs()
    assert regularizers.orientation(rays(weights, distance, towards)) == 0


def test_orientation_counts_normals_that_face_away(generator):
    weights, distance = random_rays(generator)
    away = torch.tensor([0.0, 0.6, -0.8], dtype=torch.float64).expand(35, 3)
    # Four rays see something.
    expected = 0.64 * weights.sum() / 4
    assert regularizers.orientation(rays(weights, distance, away)).item() == pytest.approx(expected.item())


def test_orientation_does_not_differentiate_weights(generator):
    weights, distance = random_rays(generator)
    weights.requires_grad_()
    normal = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).repeat(35, 1).requires_grad_()
    regularizers.orientation(rays(weights, distance, normal)).backward()
    assert weights.grad is None
    assert normal.grad.abs().sum() > 0


def test_sparsity_is_a_tenth_for_an_empty_image_and_grows():
    values = [regularizers.sparsity(image(torch.full((4,), o))).item() for o in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([0.1, math.sqrt(0.26), math.sqrt(1.01)])


def test_t14_3_opaque_is_log_2_at_a_half_and_small_at_the_ends():
    at = {o: regularizers.opaque(image(torch.full((4,), o))).item() for o in (0.0, 0.3, 0.5, 0.7, 1.0)}
    assert at[0.5] == pytest.approx(math.log(2))
    assert max(at.values()) == at[0.5]
    # The clamp at 1e-3 leaves 0.0079.
    assert max(at[0.0], at[1.0]) < 0.01


def test_weight_entropy_counts_bits(generator):
    weights, distance = torch.tensor([[0.5, 0.5, 0.25, 0.0]], dtype=torch.float64), torch.arange(4.0).double()[None]
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    # A weight of zero is clamped to 1e-5 and still counts 1.8e-4 bits.
    assert regularizers.weight_entropy(rays(weights, distance)).item() == pytest.approx(2 + quarter, abs=2e-4)


def test_emptiness_is_zero_for_empty_rays_and_log_11_for_a_full_one():
    distance = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert regularizers.emptiness(rays(torch.zeros(2, 2), distance)) == 0
    full = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert regularizers.emptiness(rays(full, distance)).item() == pytest.approx(math.log(11))


def test_t14_5_z_variance_is_zero_for_single_sample_rays(generator):
    weights = torch.rand(6, 1, generator=generator) * 0.5 + 0.5
    loss = regularizers.z_variance(rays(weights, torch.rand(6, 1, generator=generator) + 1))
    # Measured: 2.4e-15 (rounding of w t / w in float32).
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_z_variance_by_hand_over_rays_that_are_mostly_opaque():
    weights = torch.tensor([[0.4, 0.4], [0.2, 0.2]], dtype=torch.float64)
    distance = torch.tensor([[1.0, 3.0], [1.0, 9.0]], dtype=torch.float64)
    assert regularizers.z_variance(rays(weights, distance)).item() == pytest.approx(1.0)


def test_distortion_equals_the_double_sum(generator):
    weights, distance = random_rays(generator)
    gap = (distance[:, :, None] - distance[:, None, :]).abs() / 2.0
    pairs = (weights[:, :, None] * weights[:, None, :] * gap).sum(dim=(1, 2))
    expected = (pairs + (weights.square() * 0.1 / 2.0).sum(dim=1) / 3).mean()
    actual = regularizers.distortion(rays(weights, distance), span=2.0)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)


def test_t14_6_distortion_vanishes_only_for_one_hot_weights_of_no_length(generator):
    one_hot = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    distance = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert regularizers.distortion(rays(one_hot, distance, length=0.0)) == 0
    for _ in range(20):
        other = torch.rand(1, 3, generator=generator, dtype=torch.float64)
        assert regularizers.distortion(rays(other / other.sum(), distance, length=0.0)) > 0
    assert regularizers.distortion(rays(one_hot, distance, length=0.3)).item() == pytest.approx(0.1)


def test_t14_4_eikonal_is_zero_for_a_distance(generator):
    points = torch.randn(100, 3, generator=generator, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad((points.norm(dim=-1) - 0.5).sum(), points)
    # Measured: 1.7e-33.
    assert regularizers.eikonal(slope) < 1e-28
    assert regularizers.eikonal(2 * slope).item() == pytest.approx(1.0)


def test_total_variation_of_a_ramp_is_its_slope():
    ramp = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 4, 5, 3) * 0.1
    assert regularizers.total_variation(ramp).item() == pytest.approx(0.1)


def test_normal_smoothness_is_zero_for_one_normal():
    flat = torch.zeros(1, 4, 4, 1)
    edge = torch.zeros(1, 4, 4, 3)
    edge[:, :, 2:] = 1
    losses = [
        regularizers.normal_smoothness(Rendering(normal, flat, flat, normal)).item()
        for normal in (torch.zeros(1, 4, 4, 3), edge)
    ]
    assert losses == pytest.approx([0.0, 1 / 3])


SAMPLE_LOSSES = ("orientation", "weight_entropy", "emptiness", "z_variance", "distortion")
IMAGE_LOSSES = ("sparsity", "opaque")


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("name", SAMPLE_LOSSES + IMAGE_LOSSES)
def test_t14_8_gradients_are_finite_at_the_edges(name, level):
    """No opacity and no normal, and full opacity in one sample."""
    weights = torch.tensor([[0.0, level], [0.0, level]], requires_grad=True)
    normal = torch.zeros(4, 3, requires_grad=True)
    loss = getattr(regularizers, name)(rays(weights, torch.tensor([[1.0, 2.0], [1.0, 2.0]]), normalize(normal)))
    assert loss.isfinite()
    loss.backward()
    for leaf in (weights, normal):
        assert leaf.grad is None or leaf.grad.isfinite().all()
    assert weights.grad is not None or normal.grad is not None


@pytest.mark.parametrize("name", SAMPLE_LOSSES)
def test_losses_of_rays_without_samples_are_zero(name):
    empty = torch.zeros(3, 0)
    assert getattr(regularizers, name)(rays(empty, empty, torch.zeros(0, 3))) == 0


def test_t14_8_gradients_are_finite_for_flat_fields():
    slope = torch.zeros(3, 3, requires_grad=True)
    regularizers.eikonal(slope).backward()
    assert slope.grad.isfinite().all()


SURFACE_LOSSES = ("normal_consistency", "face_consistency", "laplacian", "bending", "edge_length")


@pytest.mark.parametrize("name", SURFACE_LOSSES)
def test_losses_on_surfaces_are_the_mesh_energies(name):
    mesh = Mesh(torch.eye(4)[:, :3], torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]))
    drawn = replace(image(torch.ones(4)), surface=SurfaceState(mesh))
    assert getattr(regularizers, name)(drawn) == getattr(mesh_energies, name)(mesh) > 0


def test_losses_on_grids_read_what_the_shape_says():
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    crossed = torch.tensor([[-0.5, 0.25]])
    drawn = replace(image(torch.ones(4)), surface=SurfaceState(mesh, crossed, deviation=torch.tensor(0.125)))
    assert regularizers.sign_change(drawn) == mesh_energies.sign_change(crossed)
    assert regularizers.developability(drawn) == 0.125


@pytest.mark.parametrize("name", [*SURFACE_LOSSES, "sign_change", "developability"])
def test_losses_on_surfaces_say_what_is_missing(name):
    with pytest.raises(ValueError, match="needs a surface"):
        getattr(regularizers, name)(image(torch.ones(4)))
    bare = replace(image(torch.ones(4)), surface=SurfaceState(Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))))
    if name not in SURFACE_LOSSES:
        with pytest.raises(ValueError, match=r"grid|flexi_mesh"):
            getattr(regularizers, name)(bare)


@pytest.mark.parametrize("name", ["orientation", "weight_entropy", "emptiness", "z_variance", "distortion"])
def test_losses_on_samples_say_when_there_are_none(name):
    with pytest.raises(ValueError, match="needs ray samples"):
        getattr(regularizers, name)(image(torch.ones(4)))


def test_losses_on_normals_say_when_there_are_none(generator):
    weights, distance = random_rays(generator)
    with pytest.raises(ValueError, match="normals=True"):
        regularizers.orientation(rays(weights, distance))
    with pytest.raises(ValueError, match="normals=True"):
        regularizers.normal_smoothness(image(torch.ones(4)))
