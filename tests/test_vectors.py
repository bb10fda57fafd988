"""Vectors and the sRGB curve."""

import torch

from dreamkit.vectors import decode_srgb, dot, encode_srgb, normalize


def test_normalize_gives_unit_length_and_keeps_the_zero_vector(generator):
    a = torch.randn(100, 3, generator=generator, dtype=torch.float64) * 10
    assert torch.allclose(normalize(a).norm(dim=-1), torch.ones(100, dtype=torch.float64), atol=1e-14)
    assert normalize(torch.zeros(1, 3)).eq(0).all()


def test_normalize_has_a_finite_gradient_at_zero():
    zero = torch.zeros(2, 3, requires_grad=True)
    normalize(zero).sum().backward()
    assert zero.grad.isfinite().all()


def test_dot_keeps_an_axis_of_length_one():
    assert dot(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0]])).tolist() == [[32.0]]


def test_srgb_curve_is_inverted_and_hits_known_values():
    linear = torch.linspace(0, 1, 1001, dtype=torch.float64)
    # Worst measured: 3.3e-16.
    assert (decode_srgb(encode_srgb(linear)) - linear).abs().max() < 1e-14
    # IEC 61966-2-1: linear 0.2140 is display 0.5.
    assert abs(float(encode_srgb(torch.tensor(0.21404114))) - 0.5) < 1e-6


def test_srgb_gradients_are_finite_at_black():
    for curve in (encode_srgb, decode_srgb):
        black = torch.zeros(3, requires_grad=True)
        curve(black).sum().backward()
        assert black.grad.isfinite().all()
        assert (black.grad > 0).all()
