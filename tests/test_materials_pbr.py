"""The PBR material: what features mean, what lights do, and what it draws."""

import math
from dataclasses import replace

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.base import ShadingPoints
from dreamkit.materials.ggx import Reflectance
from dreamkit.materials.illumination import Illumination, Lamps, environment_light, illuminate, reflect_lamps
from dreamkit.materials.lambert import Lambert
from dreamkit.materials.monte_carlo import Samples
from dreamkit.materials.pbr import PBR, LampSampler
from dreamkit.materials.split_sum import prefilter
from dreamkit.vectors import decode_srgb, encode_srgb, normalize


def points(count: int = 6, channels: int = 5, seed: int = 0) -> ShadingPoints:
    draw = torch.Generator().manual_seed(seed)
    normal = normalize(torch.randn(count, 3, generator=draw))
    toward = normalize(normal + 0.4 * torch.randn(count, 3, generator=draw))
    features = torch.randn(count, channels, generator=draw)
    return ShadingPoints(features, 0.5 * normal, -toward, torch.arange(count) % 2, normal)


def uniform(light: float = 1.0) -> Illumination:
    radiance = torch.full((1, 16, 32, 3), light)
    which, turn = torch.zeros(2, dtype=torch.long), torch.tensor([0.0, 90.0])
    return Illumination(radiance, prefilter(radiance), which, turn)


def test_evaluation_shows_the_base_colour():
    material = PBR(("overcast",))
    assert torch.equal(material.shade(points(), None), torch.sigmoid(points().features[:, :3]))


def test_a_matt_dielectric_under_even_light_shows_a_little_less_than_its_colour():
    """(1 - F) is not taken from the matt part, as on the card: base + 0.04 FG0 + FG1, at roughness 1."""
    material = PBR(("overcast",), metallic=(0.0, 0.0), roughness=(1.0, 1.0))
    ahead = replace(points(), normal=-points().direction)
    shown = decode_srgb(material.shade(ahead, uniform(0.5)))
    base = decode_srgb(torch.sigmoid(ahead.features[:, :3]))
    # FG0 at n.v = 1 and roughness 1 is 0.30: 0.04 of it. Worst measured 2.4e-3 (the irradiance of 16 rows).
    assert (shown - 0.5 * (base + 0.04 * 0.30)).abs().max() < 5e-3


def test_features_become_values_in_their_ranges():
    material = PBR(("overcast",), metallic=(0.1, 0.8), roughness=(0.2, 0.7))
    low, high = (material.reflectance(torch.full((1, 5), value)) for value in (-50.0, 50.0))
    assert (low.metallic.item(), high.metallic.item()) == pytest.approx((0.1, 0.8))
    assert (low.roughness.item(), high.roughness.item()) == pytest.approx((0.2, 0.7))
    maps = material.surface_maps(torch.full((1, 5), 50.0))
    assert maps.tolist()[0] == pytest.approx([1, 0.7, 0.8])
    # Base colour features mean display colour: that is what textures hold and priors see.
    assert torch.allclose(
        encode_srgb(material.reflectance(points().features).base_color),
        material.base_color(points().features),
        atol=1e-5,
    )


def test_each_view_has_its_own_light_and_the_generator_decides():
    material = PBR(lamp=LampSampler(power=2.0))
    cameras = orbit(torch.linspace(0, 300, 64))
    lights = [material.draw_lights(cameras, 0.5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(lights[0].turn, lights[1].turn)
    assert torch.equal(lights[0].which, lights[1].which)
    assert not torch.equal(lights[0].turn, lights[2].turn)
    assert lights[0].which.unique().tolist() == [0, 1, 2, 3, 4]
    assert lights[0].turn.min() >= 0
    assert lights[0].turn.max() < 360
    assert lights[0].lamps.position.shape == (64, 1, 3)


def test_turning_the_light_and_the_surface_together_changes_nothing():
    """A scene that is turned by 90 degrees as a whole looks the same."""
    light = environment_light("sunset")
    light = replace(light, which=torch.zeros(2, dtype=torch.long), turn=torch.tensor([0.0, 90.0]))
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    here = points()
    matter = PBR(("sunset",)).reflectance(here.features)
    shown = []
    for view, turn in ((0, torch.eye(3)), (1, quarter)):
        which = torch.full((6,), view)
        normal, towards = here.normal @ turn.T, -here.direction @ turn.T
        shown.append(illuminate(matter, here.position, normal, towards, which, light))
    # Float32 angles; worst measured 6e-6 of values up to 2.
    assert torch.allclose(*shown, atol=1e-4)


def test_sampling_and_tables_agree_as_material_options():
    here = replace(
        points(), features=points().features * torch.tensor([1, 1, 1, 0, 0]) + torch.tensor([0, 0, 0, -9, 1.0])
    )
    light = environment_light("overcast")
    light = replace(light, which=torch.zeros(2, dtype=torch.long), turn=torch.zeros(2))
    tabled = PBR(("overcast",)).shade(here, light)
    sampled = PBR(("overcast",), samples=Samples(512, 512)).shade(here, light)
    # Display values; worst measured 0.007.
    assert (tabled - sampled).abs().max() < 0.02


def test_a_point_light_follows_the_inverse_square_and_the_cosine():
    matter = Reflectance(torch.full((2, 3), 0.5), torch.zeros(2, 1), torch.ones(2, 1))
    up = torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3)
    lamps = Lamps(torch.tensor([[[0.0, 0, 2]], [[0.0, 0, 4]]]), torch.ones(2, 1, 3), torch.zeros(2, 1))
    shown = reflect_lamps(matter, torch.zeros(2, 3), up, up, lamps, torch.arange(2))
    # Matt part base / pi / d^2, and the highlight D Vis F = 0.04 / (4 pi) straight on, at roughness 1.
    expected = (0.5 + 0.01) / math.pi / torch.tensor([4.0, 16.0])
    assert torch.allclose(shown[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("radius", [0.01, 0.5, 1.5])
def test_a_lamp_gives_the_irradiance_of_a_ball(radius):
    """A ball straight above lights a matt plane by power / d^2, whatever its radius (Lambert, 1760)."""
    matter = Reflectance(torch.zeros(1, 3), torch.zeros(1, 1), torch.ones(1, 1))
    white = replace(matter, base_color=torch.ones(1, 3))
    up = torch.tensor([[0.0, 0.0, 1.0]])
    lamps = Lamps(torch.tensor([[[0.0, 0.0, 2.0]]]), torch.ones(1, 1, 3), torch.tensor([[radius]]))
    zero, which = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
    # White less black is the matt part alone.
    shown = [reflect_lamps(m, zero, up, up, lamps, which) for m in (white, matter)]
    matt = float((shown[0] - shown[1])[0, 0]) * math.pi
    # 16 samples of a linear function of cos: exact up to float32.
    assert matt == pytest.approx(1 / 4, rel=1e-4)


def test_bump_bends_the_normal_and_zero_does_not():
    material = PBR(("overcast",), bump=True)
    here = points(channels=8)
    assert material.channels == 8
    flat = torch.cat([here.features[:, :5], torch.zeros(6, 3)], dim=-1)
    assert torch.allclose(material.shading_normal(flat, here.normal), here.normal, atol=1e-6)
    bent = material.shading_normal(here.features, here.normal)
    assert (bent.norm(dim=-1) - 1).abs().max() < 1e-5
    assert (bent - here.normal).norm(dim=-1).min() > 1e-2
    assert PBR(("overcast",)).shading_normal(here.features, here.normal) is None


def test_gradients_reach_features_and_normals_and_stay_finite():
    material = PBR(("studio",), bump=True)
    here = points(64, 8)
    features, normal = here.features.requires_grad_(), here.normal.requires_grad_()
    light = replace(environment_light("studio"), which=torch.zeros(2, dtype=torch.long), turn=torch.zeros(2))
    material.shade(replace(here, features=features, normal=normal), light).sum().backward()
    for gradient in (features.grad, normal.grad):
        assert gradient.isfinite().all()
        assert (gradient != 0).any(dim=0).all()


def test_backs_of_surfaces_are_drawn_without_nan():
    material = PBR(("studio",))
    here = points()
    light = replace(environment_light("studio"), which=torch.zeros(2, dtype=torch.long), turn=torch.zeros(2))
    for normal in (here.direction, torch.zeros(6, 3), torch.tensor([0.0, 1, 0]).expand(6, 3)):
        shown = material.shade(replace(here, normal=normal), light)
        assert shown.isfinite().all()
        assert ((shown >= 0) & (shown <= 1)).all()


def test_environments_are_no_part_of_the_state():
    assert not PBR(("overcast",)).state_dict()


def test_wrong_lights_and_settings_are_explained(generator):
    lambert = Lambert().draw_lights(orbit([0.0, 1.0]), 1.0, generator)
    with pytest.raises(TypeError, match="draws itself"):
        PBR(("overcast",)).shade(points(), lambert)
    with pytest.raises(TypeError, match="draws itself"):
        Lambert().shade(replace(points(), features=points().features[:, :3]), uniform())
    with pytest.raises(ValueError, match="needs normals"):
        PBR(("overcast",)).shade(replace(points(), normal=None), uniform())
    with pytest.raises(ValueError, match="did you mean 'studio'"):
        PBR(("studi",))
    with pytest.raises(ValueError, match="range within"):
        PBR(("overcast",), roughness=(0.5, 1.5))
