"""Backgrounds."""

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.backgrounds import Environment, RandomSolid, Solid, spherical_harmonics
from dreamkit.vectors import normalize

DIRECTIONS = orbit([0.0, 90.0, 180.0, 270.0], height=8, width=8).rays().directions


def test_solid_is_solid(generator):
    for draw in (None, generator):
        assert torch.allclose(Solid((0.2, 0.4, 0.6)).color(DIRECTIONS, draw), torch.tensor([0.2, 0.4, 0.6]))


@pytest.mark.parametrize("grey", [True, False])
def test_random_solid_is_one_colour_for_each_view(grey, generator):
    image = RandomSolid(grey=grey).color(DIRECTIONS, generator)
    colors = image[:, 0, 0]
    assert torch.equal(image, colors[:, None, None].expand_as(image))
    assert len(colors[:, 0].unique()) == 4
    assert (colors.std(dim=-1) < 1e-7).all() == grey
    assert torch.equal(RandomSolid((0.5, 0.5, 0.5), grey).color(DIRECTIONS), torch.full_like(DIRECTIONS, 0.5))


def test_environment_replaces_views_by_chance_and_only_in_training(generator):
    environment = Environment()
    learnt = environment.color(DIRECTIONS)
    assert torch.equal(learnt, environment.color(DIRECTIONS))
    always, never = Environment(replaced=1.0), Environment(replaced=0.0)
    assert torch.equal(never.color(DIRECTIONS, generator), learnt)
    image = always.color(DIRECTIONS, generator)
    assert torch.equal(image, image[:, :1, :1].expand_as(image))
    many = DIRECTIONS[:1, :1, :2].expand(2000, 1, 2, 3)
    replaced = (environment.color(many, generator) != environment.color(many)).any(dim=-1).any(dim=-1)
    # Standard error 0.011; four of them.
    assert replaced.float().mean().item() == pytest.approx(0.5, abs=0.045)


def test_spherical_harmonics_are_orthonormal(generator):
    directions = normalize(torch.randn(200_000, 3, generator=generator, dtype=torch.float64))
    y = spherical_harmonics(directions)
    gram = 4 * torch.pi * y.T @ y / len(y)
    # Monte-Carlo error; worst measured: 0.0045.
    assert torch.allclose(gram, torch.eye(16, dtype=torch.float64), atol=0.015)


def test_spherical_harmonics_obey_the_addition_theorem(generator):
    """`sum_m Y_lm(d)^2 = (2 l + 1) / 4 pi` for every direction and degree."""
    y = spherical_harmonics(normalize(torch.randn(100, 3, generator=generator, dtype=torch.float64))).square()
    for degree in range(4):
        total = y[:, degree**2 : (degree + 1) ** 2].sum(dim=-1)
        # Worst measured: 7.8e-16.
        assert torch.allclose(total, torch.full_like(total, (2 * degree + 1) / (4 * torch.pi)), atol=1e-12)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="display values"):
        Solid((0.0, 0.0, 2.0))
    with pytest.raises(ValueError, match="probability"):
        Environment(replaced=-1.0)
