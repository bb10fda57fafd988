"""Clouds of Gaussians: what they hold, what they say as a volume, how they start, how they are stored."""

import math

import numpy as np
import pytest
import torch

from dreamkit.mesh import Mesh
from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.representations.gaussian_init import (
    ball_cloud,
    facing,
    field_cloud,
    mesh_cloud,
    point_cloud,
    sample_surface,
)
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.spherical_harmonics import harmonics
from dreamkit.vectors import normalize


def single(opacity: float = 0.6, deviation: float = 0.1) -> Gaussians:
    """Two equal round Gaussians far apart, so that near the first there is only the first."""
    cloud = GaussianCloud(
        torch.tensor([[0.2, -0.1, 0.3], [-0.8, 0.8, -0.8]]),
        torch.full((2, 3), math.log(deviation)),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2),
        torch.logit(torch.full((2,), opacity)),
        torch.tensor([[[1.0, 2.0, 3.0]], [[-1.0, 0.0, 1.0]]]),
    )
    return Gaussians.holding(cloud)


def test_the_density_integrates_to_the_opacity() -> None:
    """Along a ray through the middle, `1 - exp(-integral sigma) = o` (card 1.9)."""
    shape = single()
    steps = torch.linspace(-0.6, 0.6, 2001)[:, None]
    points = shape.positions[:1] + steps * normalize(torch.tensor([1.0, 2.0, -1.0]))
    optical = shape.density(points).sum().detach() * 1.2 / 2000
    # Worst measured 4e-4: what lies beyond 3.5 deviations.
    assert 1 - math.exp(-float(optical)) == pytest.approx(0.6, abs=1e-3)


def test_features_are_the_nearest_ones_and_everywhere_defined() -> None:
    shape = single()
    points = torch.tensor([[0.2, -0.1, 0.3], [-0.8, 0.7, -0.8], [0.9, 0.9, 0.9]])
    expected = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0], [1.0, 2.0, 3.0]])
    torch.testing.assert_close(shape.features(points), expected)


def test_volume_queries_equal_the_plain_sums(generator: torch.Generator) -> None:
    shape = Gaussians(count=200, seed=3)
    with torch.no_grad():
        shape.scales += torch.randn(200, 3, generator=generator) * 0.3 + 0.5
        shape.rotations.copy_(torch.randn(200, 4, generator=generator))
        shape.colors.copy_(torch.randn(200, 1, 3, generator=generator))
    points = torch.rand(3000, 3, generator=generator) * 2 - 1
    matrices = rotation_matrices(shape.rotations)
    local = torch.einsum("gji,pgj->pgi", matrices, points[:, None] - shape.positions) / shape.deviations
    peak = -torch.log(1 - shape.alphas) / (shape.deviations.prod(dim=-1) ** (1 / 3) * math.sqrt(2 * math.pi))
    weights = peak * torch.exp(-0.5 * local.square().sum(dim=-1))
    # The cut at 3.5 deviations removes at most 0.22 % of the peaks; worst measured 0.3 % of the largest density.
    density = shape.density(points)
    assert (density - weights.sum(dim=-1)).abs().max() < 0.01 * weights.sum(dim=-1).max()
    some = weights.sum(dim=-1) > 0.1 * weights.sum(dim=-1).max()
    expected = weights @ shape.colors[:, 0] / weights.sum(dim=-1, keepdim=True)
    assert (shape.features(points) - expected)[some].abs().max() < 0.05


def test_volume_queries_are_differentiable(generator: torch.Generator) -> None:
    shape = Gaussians(count=20)
    points = torch.rand(50, 3, generator=generator) - 0.5
    (shape.density(points).sum() + shape.features(points).square().sum()).backward()
    assert shape.positions.grad is not None
    assert shape.scales.grad.abs().sum() > 0
    assert shape.opacities.grad.abs().sum() > 0


def test_harmonics_are_orthonormal(generator: torch.Generator) -> None:
    """`integral Y_i Y_j = delta_ij` over the sphere, on a product grid that is exact for these degrees."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(8))
    angle = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    z, a = torch.meshgrid(nodes, angle, indexing="ij")
    ring = (1 - z * z).sqrt()
    basis = harmonics(torch.stack([ring * a.cos(), ring * a.sin(), z], dim=-1).view(-1, 3), 3)
    gram = basis.T @ (basis * (weights[:, None] * torch.full_like(z, 2 * math.pi / 16)).reshape(-1, 1))
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-12)


def test_channels_depend_on_the_direction_as_the_harmonics_do(generator: torch.Generator) -> None:
    shape = Gaussians(count=5, degree=2)
    with torch.no_grad():
        shape.colors.normal_(generator=generator)
    directions = normalize(torch.randn(2, 5, 3, generator=generator))
    seen = shape.seen_from(directions)
    basis = harmonics(directions[1], 2)
    expected = shape.colors[:, 0] + (basis[:, 1:, None] * shape.colors[:, 1:]).sum(dim=1)
    torch.testing.assert_close(seen[1], expected)


def test_a_ball_is_filled_evenly(generator: torch.Generator) -> None:
    cloud = ball_cloud(20_000, 0.5, 0.1, 3, generator)
    reach = cloud.positions.norm(dim=-1)
    assert reach.max() <= 0.5
    # Half of the volume lies within 2^(-1/3) of the radius: binomial, standard deviation 0.0035.
    assert float((reach < 0.5 * 0.5 ** (1 / 3)).float().mean()) == pytest.approx(0.5, abs=0.015)
    torch.testing.assert_close(torch.sigmoid(cloud.opacities), torch.full((20_000,), 0.1))


def test_points_are_as_wide_as_their_neighbours_are_far() -> None:
    lattice = torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij"), dim=-1).view(-1, 3) * 0.1
    cloud = point_cloud(lattice, torch.zeros(64, 3))
    torch.testing.assert_close(cloud.scales.exp(), torch.full((64, 3), 0.1))


def test_a_mesh_is_covered_along_its_surface(generator: torch.Generator) -> None:
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.0, 3.0]])
    mesh = Mesh(vertices, torch.tensor([[0, 2, 1], [0, 3, 2]]))
    state = generator.get_state()
    points, normals = sample_surface(mesh, 300, generator)
    generator.set_state(state)
    cloud = mesh_cloud(mesh, points * 2, generator)
    assert torch.equal(cloud.positions, points)
    assert torch.equal(cloud.colors[:, 0], points * 2)
    assert points[:, 1].abs().max() == 0
    torch.testing.assert_close(normals, torch.tensor([0.0, 1.0, 0.0]).expand(300, 3))
    # Spacing sqrt(3 / 300) = 0.1.
    torch.testing.assert_close(cloud.scales.exp(), torch.tensor([0.06, 0.06, 0.01]).expand(300, 3))
    torch.testing.assert_close(rotation_matrices(cloud.rotations)[:, :, 2], normals)


def test_facing_turns_the_third_axis(generator: torch.Generator) -> None:
    normals = normalize(torch.randn(50, 3, generator=generator))
    normals = torch.cat([normals, torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])])
    torch.testing.assert_close(rotation_matrices(facing(normals))[:, :, 2], normals, rtol=0, atol=1e-5)


def test_a_field_becomes_gaussians_of_its_density_and_colour(generator: torch.Generator) -> None:
    """Round and back: a cloud drawn from a cloud has its silhouette and its colours."""
    source = single(0.99, 0.25)
    cloud = field_cloud(source, 3000, generator, grid=32)
    near = (cloud.positions - source.positions[0]).norm(dim=-1) < 0.3
    assert near.sum() > 500
    torch.testing.assert_close(cloud.colors[near, 0].mean(dim=0), source.colors[0, 0], rtol=0, atol=0.1)
    assert torch.sigmoid(cloud.opacities[near]).mean() > torch.sigmoid(cloud.opacities[~near]).mean()


def test_stored_clouds_of_another_size_are_taken_over(generator: torch.Generator) -> None:
    small, large = Gaussians(count=10), Gaussians(count=33, seed=5)
    known = small.positions
    small.load_state_dict(large.state_dict())
    assert small.positions is known
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), large.parameters(), strict=True))
    small.density(torch.zeros(4, 3)).sum().backward()


def test_flat_ones_are_thin_and_face_the_camera() -> None:
    shape = Gaussians(count=6, flat=True)
    assert shape.scales.shape == (6, 2)
    assert (shape.deviations[:, 2] == 1e-4).all()
    towards = torch.tensor([0.0, 0.0, -1.0]).expand(1, 6, 3)
    normals = shape.normals_to(towards)
    axis = rotation_matrices(shape.rotations)[:, :, 2]
    torch.testing.assert_close((normals * axis).sum(dim=-1).abs(), torch.ones(1, 6))
    assert ((normals * towards).sum(dim=-1) <= 0).all()


@pytest.mark.parametrize("wrong", [{"count": 1}, {"size": 2.0}, {"opacity": 1.0}, {"degree": 4}, {"channels": 0}])
def test_settings_without_meaning_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"Gaussians need|degrees 0 to 3"):
        Gaussians(**wrong)


def test_clouds_have_the_channels_of_their_material():
    shape = Gaussians(count=6, channels=5, degree=1)
    assert shape.colors.shape == (6, 4, 5)


def test_disks_start_facing_outwards():
    shape = Gaussians(count=50, flat=True)
    axis = rotation_matrices(shape.rotations)[:, :, 2]
    # Worst measured 1 - 2e-7.
    assert ((axis * normalize(shape.positions)).sum(dim=-1) > 1 - 1e-5).all()
