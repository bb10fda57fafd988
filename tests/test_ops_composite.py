"""Compositing (rep T5.5, the ball of rep T1.1): closed forms, derivatives, native against reference."""

import pytest
import torch
from torch.autograd import gradcheck

from dreamkit.ops import _library
from dreamkit.ops.composite import Composited, composite, composite_reference
from dreamkit.ops.march import march

native = pytest.mark.skipif(
    _library.backend_of("composite", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)


def draw(generator, dtype=torch.float64, scale=20.0, counts=(5, 0, 1, 9, 0, 17)):
    offsets = torch.tensor([0, *counts]).cumsum(0)
    total = int(offsets[-1])
    density = (torch.rand(total, generator=generator, dtype=dtype) * scale).requires_grad_()
    values = torch.randn(total, 4, generator=generator, dtype=dtype).requires_grad_()
    length = torch.rand(total, generator=generator, dtype=dtype) * 0.1
    distance = torch.rand(total, generator=generator, dtype=dtype) + 1
    return density, length, values, offsets, distance


def outputs(composited: Composited):
    return composited.weights, composited.accumulated, composited.alpha, composited.depth


@pytest.mark.parametrize("run", [composite, composite_reference])
def test_t5_5_weights_and_what_passes_sum_to_one(run, generator):
    density, length, values, offsets, distance = draw(generator, torch.float32, counts=(300, 7, 0, 500))
    result = run(density, length, values, offsets, distance)
    optical = torch.stack([part.sum() for part in (density * length).double().split([300, 7, 0, 500])])
    # Worst measured 6e-8 (CPU).
    torch.testing.assert_close(result.alpha.double() + torch.exp(-optical), torch.ones(4).double(), rtol=0, atol=1e-6)
    assert (result.weights >= 0).all()


def test_two_samples_by_hand():
    density, length = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0])
    result = composite(density, length, torch.tensor([[10.0], [1.0]]), torch.tensor([0, 2]), torch.tensor([3.0, 4.0]))
    a, b = 1 - torch.exp(torch.tensor(-0.5)), 1 - torch.exp(torch.tensor(-2.0))
    expected = torch.stack([a, (1 - a) * b])
    torch.testing.assert_close(result.weights, expected)
    torch.testing.assert_close(result.accumulated[0, 0], 10 * expected[0] + expected[1])
    torch.testing.assert_close(result.depth[0], 3 * expected[0] + 4 * expected[1])


def test_t1_1_ball_of_constant_density():
    # Through a ball of radius 0.5 and density s, alpha = 1 - exp(-s chord): 64 x 64 parallel rays, 64 samples each.
    middle = (torch.arange(64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    origins = torch.stack([x, y, torch.full_like(x, 2.0)], dim=-1).reshape(-1, 3)
    directions = torch.tensor([0.0, 0.0, -1.0]).expand_as(origins)
    samples = march(origins, directions, torch.ones(2, 2, 2, dtype=torch.bool), 1.0, 0.1, 5.0, 2 / 64)
    points = origins[samples.ray] + samples.distance[:, None] * directions[samples.ray]
    density = 5.0 * (points.norm(dim=-1) < 0.5)
    result = composite(density, samples.length, points, samples.offsets)
    chord = 2 * (0.25 - origins[:, :2].square().sum(dim=-1)).clamp_min(0).sqrt()
    error = (result.alpha - (1 - torch.exp(-5.0 * chord))).square().mean()
    psnr = -10 * torch.log10(error).item()
    # Measured 47.6 dB (CPU); the error is the ball's edge falling between two samples.
    assert psnr > 45


def test_an_infinitely_dense_sample_hides_the_rest(generator):
    density = torch.tensor([0.0, torch.inf, torch.inf, 3.0], requires_grad=True)
    result = composite(density, torch.ones(4), torch.eye(4), torch.tensor([0, 4]))
    assert result.accumulated.tolist() == [[0.0, 1.0, 0.0, 0.0]]
    (gradient,) = torch.autograd.grad(result.accumulated.sum(), density)
    assert torch.equal(gradient, torch.zeros(4))


def test_rays_without_samples_are_transparent(generator):
    result = composite(*draw(generator))
    for output in (result.alpha, result.depth, result.accumulated):
        assert not output[[1, 4]].any()
    assert composite(*draw(generator)[:4]).depth is None


@pytest.mark.parametrize("run", [composite, composite_reference])
def test_gradients_of_every_output_against_finite_differences(run, generator):
    density, length, values, offsets, distance = draw(generator)
    assert gradcheck(lambda s, v: outputs(run(s, length, v, offsets, distance)), (density, values))


@native
@pytest.mark.parametrize("stop", [0.0, 1e-2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("scale", [0.1, 20.0, 1000.0])
def test_native_equals_reference_with_all_gradients(scale, dtype, tolerance, stop, generator):
    density, length, values, offsets, distance = draw(generator, dtype, scale, counts=(64, 0, 1, 40, 200))
    cotangents = [
        torch.randn(o.shape, generator=generator, dtype=dtype)
        for o in outputs(composite(*draw_again(density, length, values, offsets, distance)))
    ]

    def everything(run):
        result = outputs(run(density, length, values, offsets, distance, stop))
        return *result, *torch.autograd.grad(result, (density, values), cotangents)

    for actual, expected in zip(everything(composite), everything(composite_reference), strict=True):
        # Worst measured 1.8e-7 (float32) and 3.4e-16 (float64), CPU, relative to the largest entry.
        assert (actual - expected).abs().max() <= tolerance * expected.detach().abs().max().clamp_min(1)


def draw_again(*tensors):
    return tuple(tensor.detach() for tensor in tensors)


@pytest.mark.parametrize("run", [composite, composite_reference])
def test_early_stop_is_wrong_by_less_than_its_threshold(run, generator):
    density, length, values, offsets, distance = draw(generator, torch.float32, counts=(100, 100))
    exact, early = (run(density, length, values, offsets, distance, stop) for stop in (0.0, 1e-2))
    assert (early.weights == 0).sum() > (exact.weights == 0).sum()
    assert (exact.alpha - early.alpha).abs().max() < 1e-2
    (gradient,) = torch.autograd.grad(early.accumulated.sum(), density)
    assert not gradient[early.weights == 0].any()


@native
def test_results_do_not_depend_on_the_number_of_threads(generator):
    tensors = draw(generator, torch.float32, counts=(30,) * 500)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            result = outputs(composite(*tensors))
            gradients = torch.autograd.grad(result[1].square().sum() + result[3].sum(), (tensors[0], tensors[2]))
            results.append((*result, *gradients))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        # The squares and their sum are torch's, elementwise, so the cotangents are the same too.
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@native
def test_second_derivative_is_refused_in_our_words(generator):
    density, length, values, offsets, _ = draw(generator)
    alpha = composite(density, length, values, offsets).alpha
    (first,) = torch.autograd.grad(alpha.sum(), density, create_graph=True)
    with pytest.raises(RuntimeError, match="asks for a second"):
        torch.autograd.grad(first.sum(), density)


@native
@pytest.mark.parametrize("with_distance", [False, True])
def test_opcheck(with_distance, generator):
    density, length, values, offsets, distance = draw(generator)
    arguments = (density, length, values, offsets, distance if with_distance else None, 0.0)
    torch.library.opcheck(torch.ops.dreamkit.composite.default, arguments)


def test_what_does_not_fit_is_refused(generator):
    density, length, values, offsets, distance = draw(generator)
    with pytest.raises(ValueError, match="expected all float32"):
        composite(density.float(), length, values, offsets)
    with pytest.raises(ValueError, match="expected int64"):
        composite(density, length, values, offsets.int())
    with pytest.raises(ValueError, match="pass them detached"):
        composite(density, length.clone().requires_grad_(), values, offsets, distance)
