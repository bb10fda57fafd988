"""Blobs, activations and the density of a signed distance."""

import math

import pytest
import torch

from dreamkit.representations.density import (
    DensityMap,
    blob_dreamfusion,
    blob_magic3d,
    trunc_exp,
    volsdf_density,
)

CENTRE = torch.zeros(1, 3, dtype=torch.float64)


@pytest.mark.parametrize("blob", [blob_magic3d, blob_dreamfusion])
@pytest.mark.parametrize("scale", [10.0, 5.0, -10.0])
def test_t14_9_blobs_have_their_scale_at_the_centre(blob, scale):
    # Worst measured: 2.0e-5, the floor inside the root of magic3d (|x| is 1e-6 at the origin).
    assert blob(CENTRE, scale, 0.5).item() == pytest.approx(scale, abs=1e-4)


def test_t14_9_magic3d_vanishes_at_its_std_and_dreamfusion_is_a_bell():
    shell = torch.tensor([[0.3, 0.4, 0.0]], dtype=torch.float64)
    assert blob_magic3d(shell, 10.0, 0.5).item() == pytest.approx(0, abs=1e-12)
    assert blob_dreamfusion(shell, 5.0, 0.5).item() == pytest.approx(5 * math.exp(-0.5))


def test_a_negative_scale_hollows_out_a_room():
    points = torch.tensor([[0.0, 0, 0], [2.5, 0, 0], [5.0, 0, 0]], dtype=torch.float64)
    density = DensityMap(scale=-10.0, std=2.5)(torch.zeros(3, dtype=torch.float64), points)
    assert density[0] < 1e-4 < density[1] < density[2]
    assert density[2] == pytest.approx(10, abs=1e-4)


@pytest.mark.parametrize("blob", ["magic3d", "dreamfusion"])
def test_blob_gradients_are_finite_at_the_origin(blob):
    points = torch.zeros(1, 3, requires_grad=True)
    DensityMap(blob=blob)(torch.zeros(1), points).sum().backward()
    assert points.grad.isfinite().all()


def test_t5_6_trunc_exp_slope_is_finite_at_plus_and_minus_50():
    z = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    trunc_exp(z).sum().backward()
    assert z.grad.isfinite().all()
    # The slope of exp where it is small, and that of z = 15 beyond.
    assert z.grad.tolist() == pytest.approx([math.exp(-50), 1.0, math.exp(15)], rel=1e-5)


def test_trunc_exp_is_exp_below_its_ceiling_with_both_derivatives(generator):
    z = torch.randn(8, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(trunc_exp, (z,))
    assert torch.autograd.gradgradcheck(trunc_exp, (z,))


@pytest.mark.parametrize("inverse_beta", [5.0, 30.0, 300.0])
def test_t14_10_volsdf_density_is_half_on_the_surface_and_full_inside(inverse_beta):
    distance = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64)
    full, half, none = volsdf_density(distance, inverse_beta).tolist()
    assert (full, half) == pytest.approx((inverse_beta, inverse_beta / 2))
    assert none == pytest.approx(0, abs=1e-12)


def test_volsdf_density_is_the_laplace_distribution(generator):
    s = torch.randn(100, generator=generator, dtype=torch.float64) * 0.1
    expected = torch.where(s < 0, 20 * (1 - 0.5 * torch.exp(20 * s)), 10 * torch.exp(-20 * s))
    # Worst measured: 4e-15.
    assert torch.allclose(volsdf_density(s, 20.0), expected, atol=1e-12)


def test_unknown_names_get_the_nearest_known_one():
    with pytest.raises(ValueError, match="did you mean 'softplus'"):
        DensityMap(activation="softpluss")
    with pytest.raises(ValueError, match="did you mean 'magic3d'"):
        DensityMap(blob="magic3")
    with pytest.raises(ValueError, match="std > 0"):
        DensityMap(std=0.0)
