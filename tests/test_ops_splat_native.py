"""The native splatting against the reference, with all gradients; threads; what torch asks of an op."""

import pytest
import torch
from test_ops_splat import cloud, images, views

from dreamkit.ops import _library, _splat_native
from dreamkit.ops.splat import splat, splat_reference
from dreamkit.ops.splat_projection import project_reference
from dreamkit.ops.splat_tiles import bin_tiles

pytestmark = pytest.mark.skipif(
    _library.backend_of("splat", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)


def everything(run, gaussians, cameras, antialiased, generator):
    """Images, then the gradients of a random sum over them and over the centres."""
    found = images(run(*gaussians, cameras, antialiased))
    cotangents = [torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output) for output in found]
    return *found, *torch.autograd.grad(found, gaussians, cotangents)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("count", [1, 40, 400])
def test_float64_equals_the_reference_with_all_gradients(count, antialiased):
    draws = torch.Generator().manual_seed(count)
    gaussians, cameras = cloud(draws, count, size=0.05), views(height=40, width=56)
    seeds = (torch.Generator().manual_seed(1) for _ in range(2))
    both = [everything(run, gaussians, cameras, antialiased, next(seeds)) for run in (splat, splat_reference)]
    for actual, expected in zip(*both, strict=True):
        # Worst measured 5.2e-15, relative to the largest entry (CPU).
        assert (actual - expected).abs().max() <= 1e-11 * expected.detach().abs().max().clamp_min(1)


@pytest.mark.parametrize("antialiased", [False, True])
def test_float32_equals_the_float64_reference_with_all_gradients(antialiased):
    draws = torch.Generator().manual_seed(0)
    gaussians, cameras = cloud(draws, 60, size=0.1), views(height=40, width=56)
    single = tuple(tensor.detach().float().requires_grad_() for tensor in gaussians)
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in single)
    seeds = (torch.Generator().manual_seed(1) for _ in range(2))
    ours = everything(splat, single, views(height=40, width=56, dtype=torch.float32), antialiased, next(seeds))
    reference = everything(splat_reference, exact, cameras, antialiased, next(seeds))
    for actual, expected in zip(ours, reference, strict=True):
        # Worst measured 2.1e-6, relative to the largest entry (CPU).
        assert (actual - expected).abs().max() <= 1e-5 * expected.detach().abs().max().clamp_min(1)


def test_thin_and_large_and_hidden_gaussians_too():
    """Needles, sheets that cover the picture, opacities at the ceiling, and stacks that fill a pixel."""
    draws = torch.Generator().manual_seed(3)
    means, scales, rotations, opacities, values = (tensor.detach() for tensor in cloud(draws, 300))
    scales = scales * torch.tensor([10.0, 1.0, 0.01], dtype=torch.float64) ** torch.rand(300, 1, generator=draws)
    opacities = (opacities * 1.6).clamp(max=1)
    gaussians = tuple(tensor.requires_grad_() for tensor in (means, scales, rotations, opacities, values))
    seeds = (torch.Generator().manual_seed(1) for _ in range(2))
    both = [everything(run, gaussians, views(), True, next(seeds)) for run in (splat, splat_reference)]
    for actual, expected in zip(*both, strict=True):
        # Worst measured 5.1e-14, relative to the largest entry (CPU).
        assert (actual - expected).abs().max() <= 1e-11 * expected.detach().abs().max().clamp_min(1)


def test_tiles_are_those_of_the_reference(generator):
    gaussians, cameras = cloud(generator, 200), views(height=40, width=56)
    seen = project_reference(*gaussians[:4], cameras, True, 0.2)
    boxes = seen.centre.detach(), seen.reach, seen.radius, seen.depth
    ours, theirs = _splat_native._tiles(*boxes, 40, 56), bin_tiles(*boxes, 40, 56)
    for name in ("starts", "splat", "slot", "offsets"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_results_do_not_depend_on_the_number_of_threads(generator):
    gaussians = tuple(tensor.detach().float().requires_grad_() for tensor in cloud(generator, 500, size=0.04))
    cameras = views(height=70, width=90, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(everything(splat, gaussians, cameras, True, torch.Generator().manual_seed(1)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_second_derivative_is_refused_in_our_words(generator):
    gaussians = cloud(generator)
    alpha = splat(*gaussians, views()).alpha
    (first,) = torch.autograd.grad(alpha.sum(), gaussians[0], create_graph=True)
    with pytest.raises(RuntimeError, match="asks for a second"):
        torch.autograd.grad(first.sum(), gaussians[0])


def test_opcheck(generator):
    means, scales, rotations, opacities, values = cloud(generator)
    frames = (torch.eye(3, dtype=torch.float64).expand(2, 3, 3).contiguous(), torch.ones(2, 3, dtype=torch.float64))
    focal = torch.full((2,), 20.0, dtype=torch.float64)
    lens = [16.0, 16.0, 0.2, 1.0]
    torch.library.opcheck(
        torch.ops.dreamkit.splat_project.default, (means, scales, rotations, opacities, *frames, focal, lens)
    )
    seen = project_reference(means, scales, rotations, opacities, views(), True, 0.2)
    tiles = bin_tiles(seen.centre.detach(), seen.reach, seen.radius, seen.depth, 16, 16)
    inputs = [tensor.detach().requires_grad_() for tensor in (seen.centre, seen.shape, seen.opacity)]
    lists = (tiles.starts, tiles.splat, tiles.slot, tiles.offsets, [2, tiles.rows, tiles.columns, 16, 16])
    torch.library.opcheck(torch.ops.dreamkit.splat_blend.default, (*inputs, seen.reach, values, *lists))
