"""Splatting (rep 6.2 to 6.4, tests T6.1 to T6.3 and T6.6): closed forms, derivatives, native against reference."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from dreamkit.cameras import Cameras, orbit
from dreamkit.ops.splat import Splatted, blend_reference, splat, splat_reference
from dreamkit.ops.splat_projection import LEAST_ALPHA, LOW_PASS, project_reference, rotation_matrices
from dreamkit.vectors import normalize

RUNS = pytest.mark.parametrize("run", [splat, splat_reference])


def cloud(generator, count=12, batch=2, channels=4, dtype=torch.float64, size=0.12):
    """Gaussians of all shapes around the origin, faint enough that no threshold is met in the middle of the picture."""
    means = torch.randn(count, 3, generator=generator, dtype=dtype) * 0.3
    scales = size * (0.5 + torch.rand(count, 3, generator=generator, dtype=dtype))
    rotations = torch.randn(count, 4, generator=generator, dtype=dtype)
    opacities = 0.2 + 0.6 * torch.rand(count, generator=generator, dtype=dtype)
    values = torch.randn(batch, count, channels, generator=generator, dtype=dtype)
    return tuple(tensor.requires_grad_() for tensor in (means, scales, rotations, opacities, values))


def views(azimuth=(0.0, 100.0), elevation=20.0, fov=40.0, height=16, width=16, dtype=torch.float64) -> Cameras:
    cameras = orbit(azimuth, elevation, fov=fov, height=height, width=width)
    return Cameras(cameras.pose.to(dtype), cameras.fov.to(dtype), height, width)


def one(position, scale=0.05, opacity=0.8, dtype=torch.float64):
    """A single isotropic Gaussian of value 1."""
    ones = torch.ones(1, 3, dtype=dtype)
    quaternion = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=dtype)
    alpha = torch.full((1,), opacity, dtype=dtype)
    return torch.tensor([position], dtype=dtype), ones * scale, quaternion, alpha, torch.ones(1, 1, 1, dtype=dtype)


def on_pixel(cameras: Cameras) -> list[float]:
    """A point on the ray through the pixel (size / 2, size / 2), at the origin's depth for a camera in front."""
    step = float(cameras.distance[0]) * math.tan(math.radians(float(cameras.fov[0])) / 2) * 2 / cameras.height
    return [0.5 * step, -0.5 * step, 0.0]


@RUNS
def test_t6_3_the_pixel_at_the_centre_is_the_opacity(run):
    cameras = views((0.0,), 0.0, height=32, width=32)
    result = run(*one(on_pixel(cameras)), cameras, antialiased=False)
    # Worst measured 1e-16 (CPU).
    torch.testing.assert_close(result.alpha[0, 16, 16, 0], torch.tensor(0.8, dtype=torch.float64), rtol=0, atol=1e-12)
    assert result.alpha.max() == result.alpha[0, 16, 16, 0]
    torch.testing.assert_close(result.centre[0, 0], torch.full((2,), 16.5, dtype=torch.float64))


@RUNS
def test_t6_3_the_sum_of_alpha_is_the_closed_form(run):
    cameras = views((0.0,), 0.0, height=64, width=64)
    gaussian = one(on_pixel(cameras))
    focal = 32 / math.tan(math.radians(20))
    variance = (focal * 0.05 / float(cameras.distance[0])) ** 2
    opacity = 0.8 * variance / (variance + LOW_PASS)
    for antialiased, peak in ((False, 0.8), (True, opacity)):
        # What the cut at 1/255 removes from a Gaussian is its base of that height.
        expected = (peak - LEAST_ALPHA) * 2 * math.pi * (variance + LOW_PASS)
        found = float(run(*gaussian, cameras, antialiased=antialiased).alpha.sum())
        # Worst measured 1.2e-3: pixels on the rim of the cut are all in or all out.
        assert found == pytest.approx(expected, rel=4e-3)


@RUNS
def test_t6_3_antialiasing_keeps_the_brightness_of_a_splat_that_shrinks_below_a_pixel(run):
    def brightness(antialiased: bool) -> list[float]:
        sums = []
        for fov in (40.0, 2 * math.degrees(math.atan(4 * math.tan(math.radians(20))))):
            cameras = views((0.0,), 0.0, fov, 64, 64)
            focal = 32 / math.tan(math.radians(fov / 2))
            sums.append(float(run(*one(on_pixel(cameras), 0.034, 0.95), cameras, antialiased).alpha.sum()) / focal**2)
        return sums

    near, far = brightness(antialiased=True)
    # Measured 1.018: what 1/255 cuts off is a larger share of a fainter splat.
    assert near / far == pytest.approx(1, abs=0.03)
    near, far = brightness(antialiased=False)
    # Classic: (0.3 + 1.2^2) / 1.2^2 against (0.3 + 0.3^2) / 0.3^2 is 3.6 times; measured 3.6.
    assert far / near > 3


@RUNS
def test_t6_2_order_swaps_with_the_depths(run):
    cameras = views((0.0, 180.0), 0.0)
    front, back = one([0.0, 0.0, 0.3], 0.2), one([0.0, 0.0, -0.3], 0.2)
    both = [torch.cat([a, b]) for a, b in zip(front[:4], back[:4], strict=True)]
    values = torch.eye(2, dtype=torch.float64).expand(2, 2, 2).contiguous()
    seen = run(*both, values, cameras).accumulated
    # From behind, the picture is the same with the roles exchanged (and left and right, which are symmetric here).
    # Worst measured 6e-8: the pose of the second camera is rounded.
    torch.testing.assert_close(seen[0], seen[1].flip(-1), rtol=0, atol=1e-6)
    assert seen[0, 8, 8, 0] > 3 * seen[0, 8, 8, 1]


@RUNS
def test_weights_and_what_passes_sum_to_one(run, generator):
    means, scales, rotations, opacities, values = cloud(generator, count=60)
    result = run(means, scales, rotations, opacities, torch.ones_like(values), views(height=20, width=36))
    torch.testing.assert_close(result.accumulated[..., :1], result.alpha, rtol=0, atol=1e-12)
    assert result.alpha.min() >= 0
    assert result.alpha.max() <= 1 - 1e-4 + 1e-12


@RUNS
def test_the_centre_is_where_the_camera_projects_it(run, generator):
    gaussians, cameras = cloud(generator), views(height=24, width=40)
    torch.testing.assert_close(run(*gaussians, cameras).centre, cameras.project(gaussians[0])[..., :2])


def test_the_footprint_is_the_image_of_the_gaussian(generator):
    """The projected covariance is that of projected samples, for a Gaussian that is small against its distance."""
    means, scales, rotations, opacities, _ = (tensor[:1].detach() for tensor in cloud(generator))
    scales, cameras = scales * 0.1, views(height=64, width=64)
    seen = project_reference(means, scales, rotations, opacities, cameras, False, 0.2)
    draws = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    points = means + (draws * scales) @ rotation_matrices(rotations)[0].T
    for view in range(2):
        pixels = cameras.project(points)[view, :, :2]
        covariance = torch.cov(pixels.T) + LOW_PASS * torch.eye(2, dtype=torch.float64)
        a, b, c = seen.shape[view, 0]
        found = torch.linalg.inv(torch.stack([torch.stack([a, b]), torch.stack([b, c])]))
        # Worst measured 0.4 %: the noise of 200 000 samples.
        assert (found - covariance).abs().max() < 0.015 * covariance.abs().max()


@RUNS
def test_t6_6_turning_cloud_and_camera_together_changes_nothing(run, generator):
    means, scales, rotations, opacities, values = (tensor.detach() for tensor in cloud(generator))
    cameras = views(height=24, width=24)
    turn = normalize(torch.randn(4, generator=generator, dtype=torch.float64))
    matrix = rotation_matrices(turn[None])[0]
    pose = cameras.pose.clone()
    pose[:, :3] = matrix @ pose[:, :3]
    turned = Cameras(pose, cameras.fov, cameras.height, cameras.width)
    before = run(means, scales, rotations, opacities, values, cameras).accumulated
    after = run(means @ matrix.T, scales, hamilton(turn, rotations), opacities, values, turned).accumulated
    # Worst measured 4e-15 (CPU).
    torch.testing.assert_close(before, after, rtol=0, atol=1e-11)


def hamilton(left, right):
    """Quaternion product, for all rows of `right`."""
    (w, *axis), scalar, vector = left, right[:, :1], right[:, 1:]
    v = torch.stack(axis).expand_as(vector)
    product = w * vector + scalar * v + torch.linalg.cross(v, vector)
    return torch.cat([w * scalar - (v * vector).sum(-1, keepdim=True), product], dim=-1)


@RUNS
@pytest.mark.parametrize("antialiased", [False, True])
def test_t6_1_gradients_against_finite_differences(run, antialiased, generator):
    # Wide and faint: the borders where alpha = 1/255 lie outside the picture.
    gaussians = cloud(generator, count=8, size=0.8)

    cameras = views(height=8, width=8)
    outputs = images(run(*gaussians, cameras, antialiased))
    assert outputs[1].min() > 0.5
    # Three random sums over each output: as sharp as all pixels one by one, and a hundred times faster.
    weights = [torch.randn(3, output.numel(), generator=generator, dtype=torch.float64) for output in outputs]

    def sums(*inputs):
        found = images(run(*inputs, cameras, antialiased))
        return tuple(weight @ output.flatten() for weight, output in zip(weights, found, strict=True))

    assert gradcheck(sums, gaussians, rtol=1e-6, atol=1e-7)


def images(result: Splatted):
    return result.accumulated, result.alpha, result.centre


def test_tiles_change_nothing(generator):
    means, scales, rotations, opacities, values = (tensor.detach() for tensor in cloud(generator, count=80))
    seen = project_reference(means, scales, rotations, opacities, views(height=20, width=36), True, 0.2)
    images = [torch.cat(blend_reference(seen, values, 20, 36, tile), dim=-1) for tile in (4, 16, 64)]
    for image in images[1:]:
        torch.testing.assert_close(images[0], image, rtol=0, atol=1e-12)


@RUNS
def test_what_is_behind_the_camera_or_beside_the_picture_is_not_drawn(run):
    cameras = views((0.0,), 0.0)
    for position in ([0.0, 0.0, 3.0], [0.0, 0.0, 2.4], [9.0, 0.0, 0.0]):
        gaussian = [tensor.requires_grad_() for tensor in one(position)]
        result = run(*gaussian, cameras)
        assert not result.alpha.any()
        assert result.radius.item() == 0
        gradients = torch.autograd.grad(result.accumulated.sum() + result.alpha.sum(), gaussian)
        assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)


@RUNS
def test_nothing_gives_an_empty_picture(run):
    empty = [torch.zeros(0, *shape) for shape in ((3,), (3,), (4,), ())]
    result = run(*empty, torch.zeros(2, 0, 5), orbit([0.0, 90.0], height=8, width=24))
    assert result.accumulated.shape == (2, 8, 24, 5)
    assert not result.alpha.any()


def test_what_does_not_fit_is_refused(generator):
    means, scales, rotations, opacities, values = cloud(generator)
    with pytest.raises(ValueError, match="expected all float32"):
        splat(means.float(), scales, rotations, opacities, values, views())
    with pytest.raises(ValueError, match="for 3 cameras"):
        splat(means, scales, rotations, opacities, values, views((0.0, 1.0, 2.0)))
