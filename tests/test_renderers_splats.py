"""Pictures of Gaussian clouds through the scene: colour, depth, normals, lights, training and evaluation."""

from dataclasses import replace

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.backgrounds import RandomSolid, Solid
from dreamkit.materials.lambert import Lambert
from dreamkit.materials.lights import LightSampler
from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.representations.gaussian_init import facing
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.spherical_harmonics import harmonics
from dreamkit.vectors import normalize


def sphere(count: int = 4000, radius: float = 0.6) -> GaussianCloud:
    """Opaque disks on a sphere (a Fibonacci lattice), red above and green below."""
    i = torch.arange(count) + 0.5
    y, angle = 1 - 2 * i / count, i * 2.399963
    ring = (1 - y * y).sqrt()
    normals = torch.stack([ring * angle.cos(), y, ring * angle.sin()], dim=-1)
    colors = torch.where(y[:, None] > 0, torch.tensor([5.0, -5.0, -5.0]), torch.tensor([-5.0, 5.0, -5.0]))
    spacing = 3.5 * radius / count**0.5
    scales = torch.tensor([spacing, spacing, 0.1 * spacing]).log().expand(count, 3)
    return GaussianCloud(normals * radius, scales, facing(normals), torch.full((count,), 4.0), colors.unsqueeze(1))


def scene(**parts) -> Scene:
    return Scene(Gaussians.holding(sphere()), renderer=SplatRenderer(), **parts)


def test_a_sphere_of_disks_looks_like_a_sphere() -> None:
    cameras = orbit([0.0, 120.0], 10.0, height=64, width=64)
    with torch.no_grad():
        view = scene(background=Solid((0.0, 0.0, 1.0))).render(cameras, normals=True)
    rays = cameras.rays()
    # |o + t d| = 0.6: nearer root of t^2 + 2 t (o.d) + |o|^2 - 0.36.
    half = (rays.origins * rays.directions).sum(-1)
    under = half.square() - rays.origins.square().sum(-1) + 0.36
    exact = -half - under.clamp_min(0).sqrt()
    # Away from the rim, which is as soft as the disks are wide.
    inside, outside = under > 0.08, under < -0.08
    assert view.alpha[inside].min() > 0.99
    assert view.alpha[outside].max() < 0.02
    # Of overlapping disks on a slope the nearest is drawn first, so depth falls short by less than two deviations
    # (0.07): measured mean 0.027, worst 0.051.
    assert (view.depth.squeeze(-1) - exact)[inside].abs().max() < 0.07
    points = rays.origins + exact.unsqueeze(-1) * rays.directions
    found, true = normalize(view.normal), normalize(points)
    assert ((found * true).sum(-1))[inside].min() > 0.9
    top = inside & (points[..., 1] > 0.1)
    torch.testing.assert_close(view.color[top].mean(dim=0), torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=0.03)
    torch.testing.assert_close(view.color[outside].mean(dim=0), torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=0.01)


def test_evaluation_is_deterministic_and_training_draws_from_the_generator() -> None:
    picture, cameras = scene(background=RandomSolid()), orbit([0.0, 90.0], height=16, width=16)
    assert torch.equal(picture.render(cameras).color, picture.render(cameras).color)
    assert picture.render(cameras).splats is None
    draws = [picture.render(cameras, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0].color, draws[1].color)
    assert not torch.equal(draws[0].color, draws[2].color)
    assert draws[0].splats is not None


def test_views_do_not_depend_on_their_batch() -> None:
    picture, cameras = scene(), orbit([0.0, 90.0, 200.0], 20.0, height=24, width=24)
    together = picture.render(cameras).color
    for i in range(3):
        assert torch.equal(picture.render(cameras[[i]]).color[0], together[i])


def test_statistics_carry_the_gradient_of_the_centres(generator: torch.Generator) -> None:
    view = scene().render(orbit([0.0], height=24, width=24), generator=generator)
    view.color.square().sum().backward()
    assert view.splats is not None
    gradient = view.splats.centre.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    # Gaussians without a picture have no gradient.
    assert not gradient[view.splats.radius == 0].any()


def test_lambert_lights_the_side_that_faces_the_light(generator: torch.Generator) -> None:
    lights = LightSampler(ambient_only_until=0.0, diffuse_probability=1.0, textureless_probability=1.0)
    lit = scene(material=Lambert(lights)).render(orbit([0.0], height=32, width=32), generator=generator)
    inside = lit.alpha.squeeze(-1) > 0.95
    assert lit.color[inside].std() > 0.05
    assert lit.normal is not None


def test_other_shapes_are_refused() -> None:
    with pytest.raises(TypeError, match="draws clouds of Gaussians"):
        Scene(HashField(), renderer=SplatRenderer()).render(orbit([0.0], height=4, width=4))


def test_t6_6_harmonics_turn_with_the_cloud_and_the_camera(generator: torch.Generator) -> None:
    """Positions, quaternions and harmonics of degree 2: the picture stays."""
    cloud = GaussianCloud(
        0.4 * torch.randn(60, 3, generator=generator),
        -2.0 + 0.5 * torch.randn(60, 3, generator=generator),
        torch.randn(60, 4, generator=generator),
        torch.randn(60, generator=generator),
        torch.randn(60, 9, 3, generator=generator),
    )
    turn = normalize(torch.randn(1, 4, generator=generator))
    matrix = rotation_matrices(turn)[0]
    # The turned colour at the turned direction is the old one: Y(R d) c' = Y(d) c, exactly, in nine numbers.
    directions = normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64))
    old = harmonics(directions, 2) @ cloud.colors.double().permute(1, 0, 2).flatten(1)
    colors = torch.linalg.lstsq(harmonics(directions @ matrix.double().T, 2), old).solution
    (w, axis), (scalar, vector) = (turn[:, :1], turn[:, 1:]), (cloud.rotations[:, :1], cloud.rotations[:, 1:])
    rotations = torch.cat(
        [
            w * scalar - (axis * vector).sum(-1, keepdim=True),
            w * vector + scalar * axis + torch.linalg.cross(axis.expand_as(vector), vector),
        ],
        dim=-1,
    )
    turned_colors = colors.view(9, 60, 3).transpose(0, 1).float()
    turned = GaussianCloud(cloud.positions @ matrix.T, cloud.scales, rotations, cloud.opacities, turned_colors)
    cameras = orbit([0.0, 75.0, 200.0], 20.0, height=32, width=32)
    pose = cameras.pose.clone()
    pose[:, :3] = matrix @ pose[:, :3]
    with torch.no_grad():
        before = Scene(Gaussians.holding(cloud), renderer=SplatRenderer()).render(cameras).color
        after = Scene(Gaussians.holding(turned), renderer=SplatRenderer()).render(replace(cameras, pose=pose)).color
    assert before.std() > 0.05
    # The card's bound. Worst measured: 8.9e-7.
    torch.testing.assert_close(before, after, rtol=0, atol=1e-4)
