"""Unlit and Lambert surfaces."""

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.base import ShadingPoints
from dreamkit.materials.lambert import Lambert
from dreamkit.materials.lights import LightSampler, PointLights
from dreamkit.materials.unlit import Unlit


def points(normal: torch.Tensor | None, count: int = 3) -> ShadingPoints:
    features = torch.linspace(-2, 2, 3 * count).view(count, 3)
    down = torch.tensor([0.0, 0.0, -1.0]).expand(count, 3)
    return ShadingPoints(features, torch.zeros(count, 3), down, torch.zeros(count, dtype=torch.long), normal)


def light(textureless: bool = False) -> PointLights:
    return PointLights(
        torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([0.1]), torch.tensor([0.9]), torch.tensor([textureless])
    )


TOWARDS_ACROSS_AWAY = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, -1]])


def test_unlit_ignores_lights(generator):
    material = Unlit()
    assert material.draw_lights(orbit([0.0]), 1.0, generator) is None
    assert torch.equal(material.shade(points(None), light()), torch.sigmoid(points(None).features))


def test_lambert_follows_the_cosine():
    shaded = Lambert().shade(points(TOWARDS_ACROSS_AWAY), light())
    base = torch.sigmoid(points(None).features)
    assert torch.allclose(shaded, base * torch.tensor([[1.0], [0.1], [0.1]]), atol=1e-6)


def test_textureless_views_show_white():
    shaded = Lambert().shade(points(TOWARDS_ACROSS_AWAY), light(textureless=True))
    assert torch.allclose(shaded, torch.tensor([[1.0], [0.1], [0.1]]).expand(3, 3), atol=1e-6)


def test_each_point_sees_the_light_of_its_own_view():
    lights = PointLights(
        torch.tensor([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]), torch.zeros(2), torch.ones(2), torch.ones(2, dtype=torch.bool)
    )
    normal = torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3)
    zero = torch.zeros(2, 3)
    shaded = Lambert().shade(ShadingPoints(zero, zero, -normal, torch.tensor([0, 1]), normal), lights)
    assert shaded[:, 0].tolist() == [1.0, 0.0]


def test_evaluation_shows_the_base_colour():
    material = Lambert()
    assert torch.equal(material.shade(points(None), None), material.base_color(points(None).features))


def test_lambert_asks_for_no_lights_while_all_views_are_flat(generator):
    assert Lambert(LightSampler(ambient_only_until=0.5)).draw_lights(orbit([0.0]), 0.1, generator) is None


def test_lambert_says_what_is_missing():
    with pytest.raises(ValueError, match="needs normals"):
        Lambert().shade(points(None), light())
