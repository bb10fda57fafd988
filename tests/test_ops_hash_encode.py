"""The hash encoding (rep card 5.2, rep T5.1): level table, closed forms, derivatives, native against reference."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from dreamkit.ops import _hash_encode_native, _library
from dreamkit.ops.hash_encode import (
    HashLevels,
    hash_encode,
    hash_encode_points_gradient,
    hash_encode_reference,
)

native = pytest.mark.skipif(
    _library.backend_of("hash_encode", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)
# Dense and hashed levels, both kinds with a wrapped far face.
SMALL = HashLevels(levels=5, log2_table_size=9, base=4)


def small(smoothstep=False, features=2):
    return HashLevels(levels=5, features=features, log2_table_size=9, base=4, smoothstep=smoothstep)


def tiny(smoothstep):
    """A dense and two hashed levels with so few entries that finite differences can walk through all of them."""
    return HashLevels(levels=3, features=2, log2_table_size=4, base=2, growth=1.6, smoothstep=smoothstep)


def draw(levels, count, generator, dtype=torch.float64):
    points = torch.rand(count, 3, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(levels.entries, levels.features, generator=generator, dtype=dtype).requires_grad_()
    return points, table


def test_t5_1_default_level_table():
    levels = HashLevels()
    assert levels.resolutions == (16, 24, 34, 49, 71, 102, 148, 213, 308, 446, 646, 934, 1352, 1956, 2831, 4096)
    assert levels.dense == (True,) * 5 + (False,) * 11
    assert levels.entries * levels.features == 12_599_920
    assert all(size % 8 == 0 for size in levels.sizes)
    assert levels.channels == 32


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"features": 3}, {"log2_table_size": 30}, {"base": 1}, {"growth": 9.0}]
)
def test_meaningless_levels_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        HashLevels(**wrong)


@pytest.mark.parametrize("smoothstep", [False, True])
def test_weights_sum_to_one(smoothstep, generator):
    levels = small(smoothstep)
    points = torch.rand(200, 3, generator=generator)
    encoded = hash_encode(points, torch.ones(levels.entries, 2), levels)
    # Worst measured 2.4e-7 (CPU): eight products of float32 shares.
    torch.testing.assert_close(encoded, torch.ones(200, levels.channels), rtol=0, atol=1e-6)


def test_a_linear_field_on_a_dense_level_is_reproduced():
    levels = HashLevels(levels=1, features=1, log2_table_size=12, base=16)
    i = torch.arange(16, dtype=torch.float64)
    z, y, x = torch.meshgrid(i, i, i, indexing="ij")
    table = (x + 2 * y - 3 * z).reshape(-1, 1)
    # Inside the range of vertices 0 to 15, which p = 15 x + 0.5 leaves at x = 29/30.
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.96
    expected = (points * 15 + 0.5) @ torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    # Worst measured 7.2e-15 (CPU).
    torch.testing.assert_close(hash_encode(points, table, levels)[:, 0], expected, rtol=0, atol=1e-12)


def test_smoothstep_stops_at_the_vertices():
    levels = HashLevels(levels=1, features=1, log2_table_size=12, base=16, smoothstep=True)
    table = torch.randn(levels.entries, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    vertex = ((torch.tensor([[3.0, 7.0, 11.0]], dtype=torch.float64) - 0.5) / 15).requires_grad_()
    (slope,) = torch.autograd.grad(hash_encode(vertex, table, levels).sum(), vertex)
    # Worst measured 0 (CPU); the vertex itself may be rounded.
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-10)


def test_inactive_levels_are_zero_and_get_no_gradient(generator):
    points, table = draw(SMALL, 50, generator)
    encoded = hash_encode(points, table, SMALL, active_levels=2)
    (gradient,) = torch.autograd.grad(encoded.sum(), table)
    assert torch.equal(encoded[:, 4:], torch.zeros(50, 6, dtype=torch.float64))
    assert torch.equal(encoded[:, :4], hash_encode(points, table, SMALL)[:, :4])
    assert not gradient[SMALL.offsets[2] :].any()
    assert gradient[: SMALL.offsets[2]].any()
    assert not hash_encode(points, table, SMALL, active_levels=0).any()


def test_points_outside_are_moved_to_the_surface(generator):
    _, table = draw(SMALL, 1, generator)
    outside = torch.tensor([[-0.3, 0.4, 1.7]], dtype=torch.float64, requires_grad=True)
    on_face = torch.tensor([[0.0, 0.4, 1.0]], dtype=torch.float64)
    encoded = hash_encode(outside, table, SMALL)
    (slope,) = torch.autograd.grad(encoded.sum(), outside)
    assert torch.equal(encoded, hash_encode(on_face, table, SMALL))
    assert slope[0, 0] == 0
    assert slope[0, 1] != 0
    assert slope[0, 2] == 0


def test_nan_stays_nan_and_touches_nothing_else(generator):
    points, table = draw(SMALL, 4, generator)
    spoiled = points.detach().clone()
    spoiled[1, 2] = torch.nan
    encoded = hash_encode(spoiled, table, SMALL)
    assert encoded[1].isnan().all()
    assert torch.equal(encoded[[0, 2, 3]], hash_encode(points, table, SMALL)[[0, 2, 3]])


@pytest.mark.parametrize("smoothstep", [False, True])
@pytest.mark.parametrize("encode", [hash_encode, hash_encode_reference])
def test_t5_1_first_and_second_derivatives_against_finite_differences(encode, smoothstep, generator):
    levels = tiny(smoothstep)
    points, table = draw(levels, 6, generator)
    assert gradcheck(lambda x, t: encode(x, t, levels, 2), (points, table))
    assert gradgradcheck(lambda x, t: encode(x, t, levels, 2), (points, table))


def test_points_gradient_is_autograds_and_trains(generator):
    levels = tiny(smoothstep=True)
    points, table = draw(levels, 6, generator)
    cotangent = torch.randn(6, levels.channels, generator=generator, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(hash_encode(points, table, levels), points, cotangent)
    actual = hash_encode_points_gradient(points, table, cotangent, levels)
    # Worst measured 0 (CPU): the same loop.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    inputs = (points, table, cotangent)
    assert gradcheck(lambda x, t, g: hash_encode_points_gradient(x, t, g, levels), inputs)


@native
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("smoothstep", [False, True])
def test_t5_1_native_equals_reference_with_all_gradients(smoothstep, features, dtype, tolerance, generator):
    levels = HashLevels(levels=8, features=features, log2_table_size=12, smoothstep=smoothstep)
    points, table = draw(levels, 500, generator, dtype)
    cotangent = torch.randn(500, levels.channels, generator=generator, dtype=dtype)
    vector = torch.randn(500, 3, generator=generator, dtype=dtype)

    def everything(encode):
        encoded = encode(points, table, levels, 7)
        first = torch.autograd.grad(encoded, (points, table), cotangent, create_graph=True)
        second = torch.autograd.grad((first[0] * vector).sum(), (points, table), allow_unused=True)
        return encoded, *first, *second

    for actual, expected in zip(everything(hash_encode), everything(hash_encode_reference), strict=True):
        # Relative to the largest entry; worst measured 3.0e-7 (float32) and 6.4e-16 (float64), CPU.
        scale = expected.detach().abs().max().clamp_min(1)
        assert (actual - expected).abs().max() <= tolerance * scale


@native
@pytest.mark.parametrize("with_direction", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(with_direction, generator):
    levels = HashLevels(levels=3, log2_table_size=10)
    points, table = (tensor.detach() for tensor in draw(levels, 3000, generator, torch.float32))
    cotangent = torch.randn(3000, levels.channels, generator=generator)
    direction = torch.randn(3000, 3, generator=generator) if with_direction else None
    packed = _hash_encode_native.pack(levels, 3)
    before, results = torch.get_num_threads(), []
    try:
        # Seven threads for three levels: several share one level.
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(
                (
                    _hash_encode_native.encode(points, table, direction, *packed),
                    _hash_encode_native.table_gradient(points, direction, cotangent, *packed),
                    _hash_encode_native.points_gradient(points, table, direction, cotangent, *packed),
                )
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@native
def test_third_derivative_is_refused_in_our_words(generator):
    levels = small(smoothstep=True)
    points, table = draw(levels, 3, generator)
    (first,) = torch.autograd.grad(hash_encode(points, table, levels).sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="asks for a third"):
        torch.autograd.grad(second.sum(), points)


@native
def test_opcheck(generator):
    points, table = draw(SMALL, 5, generator)
    cotangent = torch.randn(5, SMALL.channels, generator=generator, dtype=torch.float64).requires_grad_()
    packed = _hash_encode_native.pack(SMALL, 4)
    ops = torch.ops.dreamkit
    torch.library.opcheck(ops.hash_encode.default, (points, table, None, *packed))
    torch.library.opcheck(ops.hash_encode_table_gradient.default, (points, None, cotangent, *packed))
    torch.library.opcheck(ops.hash_encode_points_gradient.default, (points, table, None, cotangent, *packed))


@native
def test_compiles_as_one_graph_with_gradients(generator):
    points, table = draw(SMALL, 5, generator)
    packed = _hash_encode_native.pack(SMALL, 5)

    # The op and not the public function: torch.compile cannot trace the shape checks that tests wrap around the latter.
    def loss(x, t):
        return torch.ops.dreamkit.hash_encode(x, t, None, *packed).sin().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    actual = torch.autograd.grad(compiled(points, table), (points, table))
    expected = torch.autograd.grad(loss(points, table), (points, table))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize(
    ("points", "entries", "active", "message"),
    [
        (torch.zeros(4, 3), 3, None, "the table has shape"),
        (torch.zeros(4, 3, dtype=torch.float64), None, None, "under autocast"),
        (torch.zeros(4, 3), None, 6, "active_levels=6"),
        (torch.zeros(4, 3, device="meta"), None, None, "points are on meta"),
    ],
)
def test_what_does_not_fit_is_refused(points, entries, active, message):
    table = torch.zeros(SMALL.entries if entries is None else entries, 2)
    with pytest.raises(ValueError, match=message):
        hash_encode(points, table, SMALL, active)


def test_no_points_give_no_rows(generator):
    _, table = draw(SMALL, 1, generator)
    empty = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    encoded = hash_encode(empty, table, SMALL)
    assert encoded.shape == (0, SMALL.channels)
    assert not torch.autograd.grad(encoded.sum(), table)[0].any()
