"""Axes, rays, projection and camera samplers."""

import math
from dataclasses import replace

import pytest
import torch

from dreamkit.cameras import OrbitSampler, orbit


def test_azimuth_0_is_at_plus_z_and_90_at_plus_x():
    cameras = orbit([0.0, 90.0, 180.0, -90.0], distance=2.0)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 0, -2], [-2, 0, 0]])
    # Worst measured: 1.7e-7 (float32 sines of 180 degrees).
    assert torch.allclose(cameras.position, expected, atol=1e-6)


def test_elevation_90_is_at_plus_y():
    camera = orbit([0.0], elevation=90.0, distance=2.0)
    assert torch.allclose(camera.position, torch.tensor([[0.0, 2.0, 0.0]]), atol=1e-6)
    assert torch.linalg.det(camera.pose[:, :3, :3]).item() == pytest.approx(1.0, abs=1e-5)


def test_front_camera_sees_plus_x_right_and_plus_y_up():
    pixels = orbit([0.0]).project(torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]))[0]
    assert pixels[0, 0] > 33
    assert pixels[0, 1] == pytest.approx(32.0, abs=1e-4)
    assert pixels[1, 1] < 31
    assert torch.allclose(pixels[2], torch.tensor([32.0, 32.0, 2.5]), atol=1e-4)


def test_angles_are_recovered_from_the_pose():
    azimuth, elevation = torch.tensor([-150.0, -30.0, 45.0, 179.0]), torch.tensor([-10.0, 0.0, 45.0, 80.0])
    cameras = orbit(azimuth, elevation, distance=3.0)
    # Worst measured: 7.6e-6 degrees.
    assert torch.allclose(cameras.azimuth, azimuth, atol=1e-4, rtol=0)
    assert torch.allclose(cameras.elevation, elevation, atol=1e-4, rtol=0)
    assert torch.allclose(cameras.distance, torch.full((4,), 3.0), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_project_inverts_rays(height, width):
    cameras = orbit([0.0, 77.0, -140.0], height=height, width=width)
    cameras = replace(cameras, pose=cameras.pose.double(), fov=cameras.fov.double())
    rays = cameras.rays()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for view in range(3):
        points = (rays.origins + 1.7 * rays.directions)[view].reshape(-1, 3)
        pixels = cameras.project(points)[view]
        # Worst measured: 3.6e-15 and 4.4e-7 pixels: the poses were made in float32, and are rotations to 3e-7 only.
        assert torch.allclose(pixels[:, 0], x.flatten().double(), atol=4e-6, rtol=0)
        assert torch.allclose(pixels[:, 1], y.flatten().double(), atol=4e-6, rtol=0)


def test_t14_14_poses_are_rotations_and_the_middle_ray_meets_the_target(generator):
    cameras = OrbitSampler(jitter_position=0.1, jitter_target=0.2, jitter_up=0.02).sample(64, 3, 3, generator)
    rotation = cameras.pose[:, :3, :3]
    identity = torch.eye(3).expand(64, 3, 3)
    # Worst measured: 4.2e-7.
    assert torch.allclose(rotation @ rotation.mT, identity, atol=2e-6)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(64), atol=2e-6)
    steady = OrbitSampler().sample(64, 3, 3, generator)
    rays = steady.rays()
    origin, direction = rays.origins[:, 1, 1], rays.directions[:, 1, 1]
    # Distance of the middle ray from the origin, which steady cameras look at. Worst measured: 1.1e-7.
    assert torch.linalg.cross(origin, direction).norm(dim=-1).max() < 2e-6


def test_t14_12_sphere_uniform_elevations_have_the_mean_sine(generator):
    sampler = OrbitSampler(elevation=(-10.0, 45.0), sphere_uniform=1.0)
    cameras = sampler.sample(20_000, 4, 4, generator)
    low, high = math.sin(math.radians(-10)), math.sin(math.radians(45))
    # Standard error of the mean: (high - low) / sqrt(12 * 20000) = 0.0018; four of them. Measured: 0.0004.
    mean = torch.sin(torch.deg2rad(cameras.elevation)).mean().item()
    assert mean == pytest.approx((low + high) / 2, abs=0.0072)


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_t14_13_stratified_azimuths_fall_one_into_each_sector(batch, generator):
    for _ in range(20):
        azimuth = OrbitSampler().sample(batch, 4, 4, generator).azimuth
        sector = ((azimuth + 180) / (360 / batch)).floor().long().clamp(0, batch - 1)
        assert sorted(sector.tolist()) == list(range(batch))


def test_samples_stay_inside_their_ranges(generator):
    cameras = OrbitSampler(azimuth=(-30.0, 30.0), stratified=False).sample(500, 4, 4, generator)
    for value, (low, high) in (
        (cameras.azimuth, (-30, 30)),
        (cameras.elevation, (-10, 45)),
        (cameras.distance, (2.2, 2.8)),
        (cameras.fov, (38, 42)),
    ):
        assert low - 1e-3 < value.min()
        assert value.max() < high + 1e-3


def test_one_seed_gives_one_set_of_cameras():
    poses = [OrbitSampler().sample(4, 8, 8, torch.Generator().manual_seed(3)).pose for _ in range(2)]
    assert torch.equal(*poses)


def test_selection_and_resizing_keep_the_view():
    cameras = orbit([0.0, 90.0, 180.0], height=8, width=8)
    assert torch.equal(cameras[1:].pose, cameras.pose[1:])
    assert torch.equal(cameras[[2]].pose, cameras.pose[2:])
    bigger = cameras.resized(16, 32)
    assert (bigger.height, bigger.width, len(bigger)) == (16, 32, 3)
    assert torch.equal(bigger.pose, cameras.pose)
