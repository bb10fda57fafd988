"""Texture look-ups: closed forms, mip-maps, finite differences, native against reference."""

import pytest
import torch
from torch.autograd import gradcheck
from triangle_soups import front, views

from dreamkit.ops import _library
from dreamkit.ops.rasterize import interpolate, interpolate_slope, rasterize
from dreamkit.ops.texture import footprint_level, mip_maps, sample_texture, sample_texture_reference

RUNS = pytest.mark.parametrize("run", [sample_texture, sample_texture_reference])
native = pytest.mark.skipif(
    _library.backend_of("texture", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)


def draw(generator: torch.Generator, dtype: torch.dtype = torch.float64, size: int = 5):
    texture = torch.rand(7, 12, 3, generator=generator, dtype=dtype).requires_grad_()
    # Some coordinates beyond the border, some levels below 0 and above the last.
    uv = (torch.rand(2, size, size, 2, generator=generator, dtype=dtype) * 1.4 - 0.2).requires_grad_()
    level = torch.rand(2, size, size, 1, generator=generator, dtype=dtype) * 6 - 1
    return texture, uv, level


@RUNS
def test_middles_of_texels_and_what_lies_between_and_beyond(run) -> None:
    texture = torch.arange(6.0).view(2, 3, 1)
    uv = torch.tensor([[0.5 / 3, 0.25], [2.5 / 3, 0.75], [1 / 3, 0.25], [0.5, 0.5], [-9.0, -9.0], [9.0, 9.0]])
    found = run(texture, uv.view(1, 1, 6, 2))[0, 0, :, 0]
    # Float32; worst measured 4.8e-7.
    assert torch.allclose(found, torch.tensor([0.0, 5.0, 0.5, 2.5, 0.0, 5.0]), atol=1e-6, rtol=0)


@RUNS
def test_equals_torchs_own_bilinear_look_up(run, generator: torch.Generator) -> None:
    texture, uv, _ = draw(generator)
    image = texture.permute(2, 0, 1).expand(2, -1, -1, -1)
    expected = torch.nn.functional.grid_sample(image, uv * 2 - 1, padding_mode="border", align_corners=False)
    # Worst measured 2.7e-15.
    assert (run(texture, uv) - expected.permute(0, 2, 3, 1)).abs().max() < 1e-13


@RUNS
def test_levels_are_means_and_blend_linearly(run) -> None:
    texture = torch.rand(8, 8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    anywhere = torch.tensor([0.3, 0.8]).double().view(1, 1, 1, 2)

    def at(level: float) -> torch.Tensor:
        return run(texture, anywhere, torch.full((1, 1, 1, 1), level, dtype=torch.float64))[0, 0, 0]

    mean = texture.mean(dim=(0, 1))
    # Worst measured 1.1e-16 for all three.
    assert (at(3.0) - mean).abs().max() < 1e-14
    assert (at(99.0) - mean).abs().max() < 1e-14
    assert (at(2.25) - (0.75 * at(2.0) + 0.25 * at(3.0))).abs().max() < 1e-14
    assert torch.equal(at(-3.0), run(texture, anywhere)[0, 0, 0])


def test_mip_maps_halve_down_to_one_texel_and_keep_the_mean() -> None:
    assert [tuple(mip.shape[:2]) for mip in mip_maps(torch.rand(8, 4, 3))] == [(8, 4), (4, 2), (2, 1), (1, 1)]
    assert [tuple(mip.shape[:2]) for mip in mip_maps(torch.rand(5, 3, 1))] == [(5, 3), (2, 1), (1, 1)]
    texture = torch.rand(16, 16, 3).double()
    for mip in mip_maps(texture):
        # Worst measured 3.3e-16.
        assert (mip.mean(dim=(0, 1)) - texture.mean(dim=(0, 1))).abs().max() < 1e-14


@RUNS
@pytest.mark.parametrize("with_level", [False, True])
def test_gradients_against_finite_differences(run, with_level: bool, generator: torch.Generator) -> None:
    texture, uv, level = draw(generator, size=3)
    assert gradcheck(lambda t, u: run(t, u, level if with_level else None), (texture, uv), eps=1e-7, fast_mode=True)


def test_slope_of_an_attribute_against_neighbouring_pixels() -> None:
    """On a plane seen at an angle, attributes are smooth: central differences of the image itself."""
    vertices = torch.tensor([[-4.0, -3, 0], [4, -3, 0], [0, 5, 0]], dtype=torch.float64)
    faces, cameras = torch.tensor([[0, 1, 2]]), views(21, 25)
    fragments = rasterize(vertices, faces, cameras)
    assert (fragments.triangle == 0).all()
    image = interpolate(vertices, faces, fragments)
    slope = interpolate_slope(vertices, faces, fragments, vertices, faces, cameras)
    right, down = (image[:, 1:-1, 2:] - image[:, 1:-1, :-2]) / 2, (image[:, 2:, 1:-1] - image[:, :-2, 1:-1]) / 2
    expected = torch.stack([right, down], dim=-1)
    # Measured 1.5e-3 of the largest slope: the second-order error of the differences.
    error = (slope[:, 1:-1, 1:-1] - expected).abs().max() / expected.abs().max()
    assert error < 5e-3


def test_level_of_a_facing_square_is_the_logarithm_of_texels_per_pixel() -> None:
    """64 texels over a square that covers 10 x 10 pixels: log2 6.4; 8 texels: 0, because it is magnified."""
    half = 2.5 * torch.tan(torch.deg2rad(torch.tensor(20.0, dtype=torch.float64)))
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]], dtype=torch.float64)
    vertices = torch.cat([(uv * 2 - 1) * torch.tensor([half, -half]), torch.zeros(4, 1, dtype=torch.float64)], dim=1)
    faces, cameras = torch.tensor([[0, 1, 2], [0, 2, 3]]), front(10, 10)
    fragments = rasterize(vertices, faces, cameras)
    for texels, expected in ((64, 6.4), (8, 1.0)):
        level = footprint_level(uv, faces, fragments, vertices, faces, cameras, (texels, texels))
        # Worst measured 4e-15.
        assert (level - torch.tensor(expected).double().log2()).abs().max() < 1e-6


@native
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("with_level", [False, True])
def test_native_equals_reference_with_all_gradients(
    with_level: bool, dtype: torch.dtype, tolerance: float, generator: torch.Generator
) -> None:
    texture, uv, level = draw(generator, dtype, size=40)
    cotangent = torch.randn(2, 40, 40, 3, generator=generator, dtype=dtype)

    def everything(run):
        out = run(texture, uv, level if with_level else None)
        return out, *torch.autograd.grad(out, (texture, uv), cotangent)

    for a, e in zip(everything(sample_texture), everything(sample_texture_reference), strict=True):
        # Worst measured: 4.0e-7 (float32), 1.4e-15 (float64), the texture's gradient.
        assert (a - e).abs().max() <= tolerance * e.detach().abs().max()


@native
def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    texture, uv, level = draw(generator, torch.float32, size=40)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = sample_texture(texture, uv, level)
            results.append((out, *torch.autograd.grad(out, (texture, uv), out)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@RUNS
def test_not_a_number_stays_one_and_stays_in_its_sample(run) -> None:
    uv = torch.tensor([[0.5, torch.nan], [0.5, 0.5]]).view(1, 1, 2, 2)
    found = run(torch.rand(4, 4, 1), uv)[0, 0, :, 0]
    assert found.isnan().tolist() == [True, False]


@native
def test_second_derivative_is_refused_and_opcheck(generator: torch.Generator) -> None:
    texture, uv, level = draw(generator)
    (first,) = torch.autograd.grad(sample_texture(texture, uv, level).sum(), uv, create_graph=True)
    with pytest.raises(RuntimeError, match="call sample_texture_reference"):
        torch.autograd.grad(first.sum(), uv)
    table = torch.tensor([[0, 7, 12]])
    flat = uv.detach().reshape(-1, 2).requires_grad_()
    for chosen in (None, torch.zeros(len(flat)).double()):
        texels = texture.detach().reshape(-1, 3).requires_grad_()
        torch.library.opcheck(torch.ops.dreamkit.texture.default, (texels, table, flat, chosen))


def test_what_does_not_fit_is_refused(generator: torch.Generator) -> None:
    texture, uv, level = draw(generator)
    with pytest.raises(ValueError, match="expected all float32"):
        sample_texture(texture.float(), uv)
    with pytest.raises(ValueError, match="pass it detached"):
        sample_texture(texture, uv, level.requires_grad_())
    with pytest.raises(ValueError, match="at least one texel"):
        sample_texture(torch.zeros(0, 4, 3), torch.zeros(1, 1, 1, 2))
