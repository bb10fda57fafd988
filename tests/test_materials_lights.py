"""Light samplers."""

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.lights import LightSampler, dreamfusion_position, magic3d_position
from dreamkit.vectors import dot, normalize

VIEWS = orbit(torch.linspace(-180, 180, 2001), elevation=torch.linspace(-90, 90, 2001))


def test_t14_15_magic3d_lights_stay_within_60_degrees_of_the_camera_axis(generator):
    light = normalize(magic3d_position(VIEWS, generator))
    angle = torch.rad2deg(torch.acos(dot(light, normalize(VIEWS.position)).clamp(-1, 1)))
    # Worst measured: 59.995.
    assert angle.max() < 60 + 1e-3
    # Elevations are uniform, so the angle is uniform in [0, 60]; standard error 0.39 degrees, four of them.
    assert angle.mean().item() == pytest.approx(30, abs=1.6)


def test_magic3d_lights_surround_the_axis_evenly(generator):
    axis = normalize(VIEWS.position)
    across = magic3d_position(VIEWS, generator) - dot(magic3d_position(VIEWS, generator), axis) * axis
    right = dot(across, VIEWS.pose[:, :3, 0])
    # Standard error of the share of lights to the right: 0.011; four of them.
    assert (right > 0).float().mean().item() == pytest.approx(0.5, abs=0.045)


@pytest.mark.parametrize("place", [dreamfusion_position, magic3d_position])
def test_lights_stand_between_0_8_and_1_5(place, generator):
    distance = place(VIEWS, generator).norm(dim=-1)
    assert distance.min() > 0.8 - 1e-5
    assert distance.max() < 1.5 + 1e-5


def test_dreamfusion_lights_without_perturbation_stand_behind_the_camera(generator):
    light = normalize(dreamfusion_position(VIEWS, generator, perturb=0.0))
    assert torch.allclose(light, normalize(VIEWS.position), atol=1e-6)


def test_shading_begins_after_the_ambient_phase(generator):
    sampler = LightSampler(ambient_only_until=0.2)
    early, late = sampler.draw(VIEWS, 0.19, generator), sampler.draw(VIEWS, 0.2, generator)
    assert early.ambient.eq(1).all()
    assert early.diffuse.eq(0).all()
    assert not early.textureless.any()
    lit = late.diffuse > 0
    # Standard errors 0.0097 and 0.0129 (1500 lit views); four of them.
    assert lit.float().mean().item() == pytest.approx(0.75, abs=0.039)
    assert late.textureless[lit].float().mean().item() == pytest.approx(0.5, abs=0.052)
    assert not late.textureless[~lit].any()
    assert late.ambient[lit].unique().tolist() == pytest.approx([0.1])
    assert late.diffuse[lit].unique().tolist() == pytest.approx([0.9])


def test_the_number_of_draws_does_not_depend_on_the_phase():
    after = []
    for progress in (0.0, 1.0):
        generator = torch.Generator().manual_seed(0)
        LightSampler().draw(VIEWS, progress, generator)
        after.append(torch.rand(1, generator=generator))
    assert torch.equal(*after)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="did you mean 'magic3d'"):
        LightSampler(sampler="magic3")
    with pytest.raises(ValueError, match="probability"):
        LightSampler(diffuse_probability=1.5)
