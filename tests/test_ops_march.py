"""Ray marching (rep card 5.5): closed forms, and the native loops against the reference to the bit."""

import math

import pytest
import torch

from dreamkit.ops import _library
from dreamkit.ops.march import march, march_reference

native = pytest.mark.skipif(
    _library.backend_of("march", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)
BOX = {"radius": 1.0, "near": 0.1, "far": 10.0, "step": 0.1}


def rays(count, generator, dtype=torch.float32):
    origins = torch.randn(count, 3, generator=generator, dtype=dtype) * 1.5
    towards = torch.rand(count, 3, generator=generator, dtype=dtype) * 2 - 1
    return origins, torch.nn.functional.normalize(towards - origins, dim=-1)


def everywhere(grid=4):
    return torch.ones(grid, grid, grid, dtype=torch.bool)


@pytest.mark.parametrize("run", [march, march_reference])
def test_a_ray_through_the_middle_gets_evenly_spaced_samples(run):
    samples = run(torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]]), everywhere(), **BOX)
    expected = 2.05 + 0.1 * torch.arange(20)
    # Worst measured 2.4e-7 (CPU): one rounding of a distance near 4.
    torch.testing.assert_close(samples.distance, expected, rtol=0, atol=1e-6)
    assert torch.equal(samples.length, torch.full((20,), 0.1))
    assert samples.offsets.tolist() == [0, 20]
    assert not samples.ray.any()


def test_occupancy_is_indexed_x_y_z():
    occupancy = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupancy[3, 1, 2] = True
    # Along +X at the height and depth of that cell: y in [-0.5, 0), z in [0, 0.5), and it holds x in [0.5, 1).
    samples = march(torch.tensor([[-3.0, -0.2, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]]), occupancy, **BOX)
    assert len(samples.ray) == 5
    assert ((samples.distance > 3.5) & (samples.distance < 4.0)).all()


def test_near_and_far_cut_the_ray(generator):
    origins, directions = rays(200, generator)
    samples = march(origins, directions, everywhere(), radius=1.0, near=1.0, far=2.0, step=0.05)
    assert len(samples.ray) > 0
    assert (samples.distance >= 1.0).all()
    assert (samples.distance < 2.0).all()


@pytest.mark.parametrize("run", [march, march_reference])
def test_rays_that_miss_or_make_no_sense_get_no_samples(run):
    origins = torch.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, torch.nan], [0.0, 0.0, 3.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [torch.nan, 0.0, -1.0]])
    assert run(origins, directions, everywhere(), **BOX).offsets.tolist() == [0] * 5


def test_samples_lie_in_occupied_cells_and_packing_is_consistent(generator):
    origins, directions = rays(300, generator)
    occupancy = torch.rand(8, 8, 8, generator=generator) < 0.3
    samples = march(origins, directions, occupancy, **BOX)
    points = origins[samples.ray] + samples.distance[:, None] * directions[samples.ray]
    cell = ((points + 1) * 4).floor().clamp(0, 7).long()
    assert occupancy[cell[:, 0], cell[:, 1], cell[:, 2]].all()
    assert torch.equal(samples.offsets[1:] - samples.offsets[:-1], torch.bincount(samples.ray, minlength=300))
    same_ray = samples.ray[1:] == samples.ray[:-1]
    assert (samples.distance[1:] > samples.distance[:-1])[same_ray].all()


def test_jittered_lengths_are_unbiased():
    # A ray of length 2 inside the cube and a step of 0.3: 6.67 samples on average.
    count = 3000
    jitter = (torch.arange(count) + 0.5) / count
    origins = torch.tensor([0.0, 0.0, 3.0]).expand(count, 3)
    directions = torch.tensor([0.0, 0.0, -1.0]).expand(count, 3)
    samples = march(origins, directions, everywhere(), 1.0, 0.1, 10.0, 0.3, jitter)
    # Worst measured 8e-8 (CPU), and one ray more or less is 1e-4.
    assert abs(samples.length.double().sum().item() / count - 2) < 2e-4


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("jittered", [False, True])
@pytest.mark.parametrize("radius", [1.0, 0.7])
def test_native_equals_reference_to_the_bit(radius, jittered, dtype, generator):
    origins, directions = rays(4000, generator, dtype)
    directions[::7, 1] = 0  # parallel to faces, some of them on the face itself
    origins[::21, 1] = radius
    occupancy = torch.rand(16, 16, 16, generator=generator) < 0.4
    jitter = torch.rand(4000, generator=generator, dtype=dtype) if jittered else None
    step = math.sqrt(3) * 2 * radius / 100
    actual, expected = (
        run(origins, directions, occupancy, radius, 0.1, 5.0, step, jitter) for run in (march, march_reference)
    )
    assert len(actual.ray) > 10_000
    assert torch.equal(actual.ray, expected.ray)
    assert torch.equal(actual.distance, expected.distance)
    assert torch.equal(actual.length, expected.length)
    assert torch.equal(actual.offsets, expected.offsets)


@native
def test_opcheck(generator):
    origins, directions = rays(20, generator)
    arguments = (origins, directions, everywhere(), torch.rand(20, generator=generator), 1.0, 0.1, 10.0, 0.1)
    torch.library.opcheck(torch.ops.dreamkit.march.default, arguments)


@pytest.mark.parametrize("limit", [{"radius": 0.0}, {"step": -1.0}, {"far": math.inf}, {"near": 11.0}])
def test_limits_without_meaning_are_refused(limit):
    with pytest.raises(ValueError, match="expected finite numbers"):
        march(torch.zeros(1, 3), torch.ones(1, 3), everywhere(), **(BOX | limit))


def test_mixed_types_are_refused():
    with pytest.raises(ValueError, match="expected all float32"):
        march(torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.float64), everywhere(), **BOX)


def test_no_rays_give_no_samples():
    samples = march(torch.zeros(0, 3), torch.zeros(0, 3), everywhere(), **BOX)
    assert samples.offsets.tolist() == [0]
    assert len(samples.ray) == 0
