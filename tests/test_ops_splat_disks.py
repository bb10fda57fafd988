"""Splatting of disks (rep 6.8, T6.1 for surfels): closed forms, derivatives, native against reference."""

import math

import pytest
import torch
from test_ops_splat import cloud, views
from torch.autograd import gradcheck
from triangle_soups import turn

from dreamkit.ops import _library
from dreamkit.ops.disk_projection import disk_power, project_disks
from dreamkit.ops.splat import blend_reference
from dreamkit.ops.splat_disks import SplattedDisks, splat_disks, splat_disks_reference
from dreamkit.ops.splat_projection import rotation_matrices

RUNS = pytest.mark.parametrize("run", [splat_disks, splat_disks_reference])
native = pytest.mark.skipif(
    _library.backend_of("splat", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)


def disks(generator, count=12, dtype=torch.float64, size=0.12):
    means, scales, rotations, opacities, values = cloud(generator, count, dtype=dtype, size=size)
    return means, scales.detach()[:, :2].clone().requires_grad_(), rotations, opacities, values


def one_disk(tilt: float, scale=(0.5, 0.4), opacity=0.8, height=0.0):
    """A disk at the origin, turned about the vertical axis by `tilt` degrees from facing +Z."""
    half = math.radians(tilt) / 2
    double = {"dtype": torch.float64}
    return (
        torch.tensor([[0.0, height, 0.0]], **double),
        torch.tensor([scale], **double),
        torch.tensor([[math.cos(half), 0.0, math.sin(half), 0.0]], **double),
        torch.tensor([opacity], **double),
        torch.ones(1, 1, 1, **double),
    )


def images(result: SplattedDisks):
    return result.accumulated, result.alpha, result.centre, result.disparity, result.disparity_square


@RUNS
@pytest.mark.parametrize("tilt", [0.0, 35.0, 70.0])
def test_every_ray_meets_the_disk_where_it_does(run, tilt):
    cameras = turn([20.0], 10.0, 2.5, 24, 32)
    disk = one_disk(tilt)
    result = run(*disk, cameras)
    axes = rotation_matrices(disk[2])[0]
    rays = cameras.rays()
    reach = -(rays.origins @ axes[:, 2]) / (rays.directions @ axes[:, 2])
    points = rays.origins + reach[..., None] * rays.directions
    place = points @ axes[:, :2] / disk[1][0]
    alpha = 0.8 * torch.exp(-0.5 * place.square().sum(dim=-1))
    drawn = (alpha >= 1.001 / 255) & (reach > 0)
    assert drawn.sum() > 60
    # The low-pass is far from this large a disk.
    torch.testing.assert_close(result.alpha[..., 0][drawn], alpha[drawn], rtol=0, atol=1e-12)
    depth = -(points - cameras.position[:, None, None]) @ cameras.pose[0, :3, 2]
    torch.testing.assert_close(result.depth[..., 0][drawn], depth[drawn], rtol=0, atol=1e-10)
    assert not result.alpha[..., 0][alpha < 0.999 / 255].any()
    assert result.distortion.max() < 1e-12


@RUNS
def test_seen_from_the_side_a_disk_is_a_line_with_a_depth(run):
    cameras = views((0.0,), 0.0, height=33, width=33)
    result = run(*one_disk(90.0), cameras)
    column = result.alpha[0, :, 16, 0]
    assert column[16] == pytest.approx(0.8)
    # A pixel to the side is 1 / 1.41 deviations of the low-pass away.
    assert result.alpha[0, 16, 17, 0] == pytest.approx(0.8 * math.exp(-1))
    seen = result.alpha > 0
    assert result.depth[seen].isfinite().all()
    # Half a scene unit is the disk's deviation; inverse depths are held within as much over the low-pass' 2.4 pixels.
    assert (result.depth[seen] - 2.5).abs().max() < 0.7


@RUNS
def test_distortion_of_two_disks_is_the_product_of_their_weights_and_distance(run):
    cameras = views((0.0,), 0.0, height=9, width=9)
    first, second = one_disk(0.0), one_disk(0.0)
    means = torch.cat([first[0] + torch.tensor([0.0, 0.0, 0.5]), second[0] - torch.tensor([0.0, 0.0, 0.5])])
    rest = [torch.cat([a, b], dim=int(a.ndim == 3)) for a, b in zip(first[1:], second[1:], strict=True)]
    result = run(means, *rest, cameras)
    w1, w2 = 0.8, 0.2 * 0.8
    middle = result.distortion[0, 4, 4, 0]
    assert middle.item() == pytest.approx(w1 * w2 * (1 / 2 - 1 / 3) ** 2, rel=1e-9)
    assert result.depth[0, 4, 4, 0].item() == pytest.approx((w1 + w2) / (w1 / 2 + w2 / 3), rel=1e-9)


def test_tiles_change_nothing(generator):
    means, scales, rotations, opacities, values = disks(generator, 60)
    seen = project_disks(means, scales, rotations, opacities, views(height=40, width=56), 0.2).footprints
    small, large = (blend_reference(seen, values, 40, 56, tile) for tile in (4, 56))
    for one, other in zip(small, large, strict=True):
        # Worst measured 9e-16 (CPU): boxes cut nothing off.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_box_is_that_of_the_visible_disk(generator):
    means, scales, rotations, opacities, _ = disks(generator, 40, size=0.3)
    cameras = views(height=64, width=64)
    seen = project_disks(means, scales, rotations, opacities, cameras, 0.2).footprints
    y, x = torch.meshgrid(torch.arange(64.0).double() + 0.5, torch.arange(64.0).double() + 0.5, indexing="ij")
    for view in range(2):
        away = [(axis.reshape(1, -1) - seen.centre[view, :, i, None]) for i, axis in enumerate((x, y))]
        alpha = seen.opacity[view, :, None] * disk_power(seen.shape[view], *away).exp()
        beyond = (away[0].abs() > seen.reach[view, :, :1] + 1e-9) | (away[1].abs() > seen.reach[view, :, 1:] + 1e-9)
        assert (alpha[beyond] < 1 / 255).all()


@RUNS
def test_disks_that_reach_behind_the_camera_are_left_out(run):
    cameras = views((0.0,), 0.0, height=8, width=8)
    assert run(*one_disk(80.0, scale=(0.5, 0.5)), cameras).alpha.max() > 0
    assert run(*one_disk(80.0, scale=(5.0, 5.0)), cameras).alpha.max() == 0


@RUNS
def test_t6_1_gradients_against_finite_differences(run, generator):
    # Wide and faint: the borders where alpha = 1/255 lie outside the picture.
    gaussians = disks(generator, count=6, size=0.8)
    cameras = views(height=8, width=8)
    outputs = images(run(*gaussians, cameras))
    weights = [torch.randn(3, output.numel(), generator=generator, dtype=torch.float64) for output in outputs]

    def sums(*inputs):
        return tuple(w @ output.flatten() for w, output in zip(weights, images(run(*inputs, cameras)), strict=True))

    assert gradcheck(sums, gaussians, rtol=1e-6, atol=1e-7)


def everything(run, gaussians, cameras):
    found = images(run(*gaussians, cameras))
    draws = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(output.shape, generator=draws, dtype=torch.float64).to(output) for output in found]
    return *found, *torch.autograd.grad(found, gaussians, cotangents)


@native
@pytest.mark.parametrize("size", [0.05, 0.004])
def test_native_equals_the_reference_with_all_gradients(size):
    # The small ones are all low-pass, the large ones have none.
    gaussians = disks(torch.Generator().manual_seed(3), 200, size=size)
    cameras = views(height=40, width=56)
    both = [everything(run, gaussians, cameras) for run in (splat_disks, splat_disks_reference)]
    for actual, expected in zip(*both, strict=True):
        # Worst measured 1.8e-15, relative to the largest entry (CPU).
        assert (actual - expected).abs().max() <= 1e-11 * expected.detach().abs().max().clamp_min(1)


@native
def test_float32_equals_the_float64_reference_with_all_gradients():
    single = tuple(t.detach().float().requires_grad_() for t in disks(torch.Generator().manual_seed(0), 60, size=0.1))
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in single)
    ours = everything(splat_disks, single, views(height=40, width=56, dtype=torch.float32))
    for actual, expected in zip(
        ours, everything(splat_disks_reference, exact, views(height=40, width=56)), strict=True
    ):
        # Worst measured 5.7e-5, relative to the largest entry (CPU): the gradient of the rotations.
        assert (actual - expected).abs().max() <= 5e-4 * expected.detach().abs().max().clamp_min(1)


@native
def test_results_do_not_depend_on_the_number_of_threads():
    gaussians, cameras = disks(torch.Generator().manual_seed(5), 150), views(height=40, width=56)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(everything(splat_disks, gaussians, cameras))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_what_does_not_fit_is_refused(generator):
    means, scales, *rest = disks(generator)
    with pytest.raises(ValueError, match="expected all float32 or all float64"):
        splat_disks(means, scales.float(), *rest, views())
