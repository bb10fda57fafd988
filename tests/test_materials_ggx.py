"""The GGX surface: densities, reciprocity and sampling."""

import math

import pytest
import torch

from dreamkit.materials.ggx import (
    Reflectance,
    distribution,
    facing,
    frame,
    reflected_share,
    sample_cosine,
    sample_half_vector,
    spiral,
)
from dreamkit.vectors import dot, normalize


def surface(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Reflectance:
    draw = torch.rand(count, 5, generator=generator, dtype=dtype)
    return Reflectance(draw[:, :3], draw[:, 3:4], 0.1 + 0.9 * draw[:, 4:])


def hemisphere(count: int, generator: torch.Generator) -> torch.Tensor:
    direction = normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    return direction * torch.tensor([1.0, 1.0, 1.0]).where(direction[:, 2:] > 0, -1.0)


def test_t4_4_light_and_viewer_can_change_places(generator):
    up = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(4096, 3)
    light, towards = hemisphere(4096, generator), hemisphere(4096, generator)
    matter = surface(4096, generator)
    there, back = reflected_share(matter, up, towards, light), reflected_share(matter, up, light, towards)
    # Worst measured, relative: 1.1e-12 (the lobe's peak is steep in n.h).
    assert ((there - back).abs() / there.clamp_min(1)).max() < 1e-6


@pytest.mark.parametrize("roughness", [0.1, 0.3, 0.6, 1.0])
def test_half_vectors_project_to_one(roughness):
    """integral D n.h dh = 1: the microfacets cover the surface exactly once."""
    cosine = 1 - torch.linspace(0, 1, 200_001, dtype=torch.float64) ** 3
    density = distribution(cosine[:, None], torch.full((len(cosine), 1), roughness**2, dtype=torch.float64))
    total = 2 * math.pi * torch.trapezoid((density * cosine[:, None]).squeeze(-1).flip(0), cosine.flip(0))
    # Trapezoids on 200 000 intervals; worst measured 3e-9.
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("width", [0.05, 0.2, 0.6])
def test_half_vectors_follow_their_density(width):
    """The share of samples beyond an angle is the integral of D n.h from there on: `1 - u` at the cosine of u."""
    half = sample_half_vector(spiral(20_000), torch.full((20_000, 1), width))
    for cut in (0.99, 0.9, 0.5):
        square = cut * cut
        outside = 1 - (1 - square) / (1 + (width**2 - 1) * square)
        share = float((half[:, 2] < cut).float().mean())
        # The spiral's first coordinate is a grid of 20 000: worst measured 5e-5.
        assert share == pytest.approx(outside, abs=2e-4)


def test_samples_are_unit_directions_above_the_surface():
    for directions in (sample_cosine(spiral(999)), sample_half_vector(spiral(999), torch.full((999, 1), 0.3))):
        assert (directions.norm(dim=-1) - 1).abs().max() < 1e-5
        assert directions[:, 2].min() >= 0


def test_cosine_samples_have_the_mean_of_their_density():
    # E[cos] under cos / pi is 2/3; the spiral's error is 1e-6.
    assert float(sample_cosine(spiral(10_000))[:, 2].mean()) == pytest.approx(2 / 3, abs=1e-4)


def test_frames_are_right_handed_and_orthonormal_everywhere(generator):
    normal = torch.cat([normalize(torch.randn(500, 3, generator=generator)), torch.eye(3), -torch.eye(3)])
    tangent, bitangent = frame(normal)
    axes = torch.stack([tangent, bitangent, normal], dim=1)
    # Worst measured 4e-7, beside the axis -z.
    assert (axes @ axes.mT - torch.eye(3)).abs().max() < 1e-5
    assert torch.linalg.det(axes).min() > 0.9999


def test_normals_that_turn_away_are_bent_to_the_viewer(generator):
    towards = normalize(torch.randn(500, 3, generator=generator))
    normal = normalize(torch.randn(500, 3, generator=generator))
    bent = facing(normal, towards)
    assert dot(bent, towards).min() > 0
    kept = dot(normal, towards).squeeze(-1) > 1e-3
    assert torch.allclose(bent[kept], normal[kept], atol=1e-6)


def test_light_from_below_is_not_reflected():
    up = torch.tensor([[0.0, 0.0, 1.0]])
    matter = Reflectance(torch.ones(1, 3), torch.zeros(1, 1), torch.full((1, 1), 0.5))
    assert reflected_share(matter, up, up, -up).eq(0).all()


def test_gradients_agree_with_finite_differences(generator):
    up = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(2, 3)
    light, towards = hemisphere(2, generator), hemisphere(2, generator)
    matter = surface(2, generator)

    def share(base: torch.Tensor, metallic: torch.Tensor, roughness: torch.Tensor, normal: torch.Tensor):
        return reflected_share(Reflectance(base, metallic, roughness), normalize(normal), towards, light)

    values = [v.clone().requires_grad_() for v in (matter.base_color, matter.metallic, matter.roughness, up)]
    assert torch.autograd.gradcheck(share, values, atol=1e-6)
