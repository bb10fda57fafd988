"""The field's libraries behind our ops: what the adapters make of their conventions, on stand-ins that obey them."""

import pytest
import torch
from field_libraries import stand_in
from test_ops_composite import draw, outputs
from test_ops_march import rays
from triangle_soups import icosphere, in_single, soup, views

from dreamkit.ops import _library, _nvdiffrast, _tinycudann
from dreamkit.ops.antialias import antialias, antialias_reference
from dreamkit.ops.composite import composite, composite_reference
from dreamkit.ops.hash_encode import hash_encode, hash_encode_reference
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.ops.march import march, march_reference
from dreamkit.ops.rasterize import interpolate, interpolate_reference, rasterize, rasterize_reference
from dreamkit.ops.texture import sample_texture, sample_texture_reference


@pytest.fixture
def use(monkeypatch):
    """Makes a stand-in serve the ops of its library on the processor; counts the calls."""

    def install(name: str) -> list[str]:
        module, asked = stand_in(name), []

        def library(op, tensor):
            asked.append(op)
            return module if _library.LIBRARIES[op] == name else None

        monkeypatch.setattr(_library, "library", library)
        return asked

    return install


def compare(actual, expected, inputs, tolerance):
    """Outputs and gradients of all inputs, of the largest entry of each."""
    weights = [torch.linspace(0.5, 1.5, out.numel(), device=out.device).view(out.shape) for out in expected]
    both = []
    for found in (actual, expected):
        gradients = torch.autograd.grad(found, inputs, weights, allow_unused=True)
        both.append([*found, *gradients])
    for mine, theirs in zip(*both, strict=True):
        assert (mine - theirs).abs().max() <= tolerance * theirs.abs().max().clamp_min(1)


@pytest.mark.parametrize("jittered", [False, True])
def test_marching_by_nerfacc_takes_our_samples(jittered, use, generator):
    origins, directions = rays(60, generator)
    # From the inside, and rays that miss or make no sense.
    origins[:5] *= 0.1
    origins[5], directions[6], origins[7, 0] = torch.tensor([0.0, 5.0, 0.0]), -origins[6], torch.nan
    jitter = torch.rand(60, generator=generator) if jittered else None
    occupancy = torch.rand(8, 8, 8, generator=generator) < 0.5
    settings = {"radius": 1.0, "near": 0.3, "far": 3.0, "step": 0.1, "jitter": jitter}
    expected = march_reference(origins, directions, occupancy, **settings)
    asked = use("nerfacc")
    found = march(origins, directions, occupancy, **settings)
    assert asked == ["march"]
    assert len(expected.ray) > 300
    # No sample of this draw stands within rounding of a border; a distance is a multiple of the step, to the bit.
    assert torch.equal(found.ray, expected.ray)
    assert torch.equal(found.offsets, expected.offsets)
    assert torch.equal(found.distance, expected.distance)


@pytest.mark.parametrize("stop", [0.0, 1e-2])
def test_compositing_by_nerfacc_with_all_gradients(stop, use, generator):
    density, length, values, offsets, distance = draw(generator, torch.float64)
    expected = outputs(composite_reference(density, length, values, offsets, distance, stop))
    use("nerfacc")
    # Worst measured 1.4e-16: the stand-in works in the precision that it is given.
    compare(outputs(composite(density, length, values, offsets, distance, stop)), expected, [density, values], 1e-13)
    assert composite(density, length, values, offsets).depth is None


@pytest.mark.parametrize("smoothstep", [False, True])
@pytest.mark.parametrize("active", [2, 5])
def test_encoding_by_tinycudann_reads_our_table(smoothstep, active, use, generator):
    levels = HashLevels(5, 2, 9, 4, 1.7, smoothstep)
    assert set(levels.dense) == {True, False}
    table = torch.randn(levels.entries, 2, generator=generator).requires_grad_()
    points = (torch.rand(200, 3, generator=generator) * 1.2 - 0.1).requires_grad_()
    expected = hash_encode_reference(points, table, levels, active)
    use("tinycudann")
    # Worst measured 9.4e-6: both work in float32, and scales differ in their last bit.
    compare([hash_encode(points, table, levels, active)], [expected], [points, table], 3e-5)


def test_a_pyramid_that_tinycudann_would_size_otherwise_is_not_given_to_it(use, generator, monkeypatch):
    levels = HashLevels(3, 2, 12, 8, 1.1)
    table, points = torch.randn(levels.entries, 2, generator=generator), torch.rand(4, 3, generator=generator)
    expected = hash_encode(points, table, levels)
    use("tinycudann")
    assert torch.equal(hash_encode(points, table, levels, 0), torch.zeros(4, 6))
    # What rounding a scale up to the next number does: a row of vertices more.
    monkeypatch.setattr(_tinycudann, "configuration", lambda levels, active: configuration(levels, active, base=9))
    assert not _tinycudann.fits(stand_in("tinycudann"), table, levels, 3)
    assert torch.equal(hash_encode(points, table, levels), expected)


def configuration(levels, active, base):
    return {
        "otype": "HashGrid",
        "n_levels": active,
        "n_features_per_level": levels.features,
        "log2_hashmap_size": levels.log2_table_size,
        "base_resolution": base,
        "per_level_scale": levels.growth,
        "interpolation": "Linear",
    }


def test_the_gradient_of_tinycudanns_table_has_no_derivative(use, generator):
    levels = HashLevels(2, 2, 9, 4, 1.7)
    table = torch.randn(levels.entries, 2, generator=generator).requires_grad_()
    use("tinycudann")
    encoded = hash_encode(torch.rand(5, 3, generator=generator), table, levels)
    (gradient,) = torch.autograd.grad(encoded.square().sum(), table, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def ball_and_views(height=15, width=18):
    mesh = icosphere(1)
    vertices = mesh.vertices.float().requires_grad_()
    return vertices, mesh.faces, in_single(views(height, width))


def test_rasterising_by_nvdiffrast_with_gradients(use):
    vertices, faces, cameras = ball_and_views()
    expected = rasterize_reference(vertices, faces, cameras)
    asked = use("nvdiffrast")
    found = rasterize(vertices, faces, cameras)
    assert asked == ["rasterize"]
    assert (expected.triangle >= 0).sum() > 100
    assert torch.equal(found.triangle, expected.triangle)
    # Worst measured 2.0e-6 of the largest entry, float32.
    compare([found.barycentric, found.depth], [expected.barycentric, expected.depth], [vertices], 3e-5)


def test_what_nvdiffrast_would_draw_otherwise_is_not_given_to_it(use):
    vertices, faces, cameras = ball_and_views()
    projected = cameras.project(vertices.detach())
    assert _nvdiffrast.sees_all(projected, faces, 0.01)
    assert not _nvdiffrast.sees_all(projected, faces, 2.0)
    assert not _nvdiffrast.sees_all(projected, faces, 0.0)
    assert not _nvdiffrast.sees_all(projected, faces[:0], 0.01)
    assert not _nvdiffrast.sees_all(torch.full_like(projected, torch.nan), faces, 0.01)
    expected = rasterize(vertices, faces, cameras, cull=True).triangle
    use("nvdiffrast")
    assert torch.equal(rasterize(vertices, faces, cameras, cull=True).triangle, expected)


def test_interpolating_by_nvdiffrast_with_gradients(use, generator):
    vertices, faces, cameras = ball_and_views()
    attribute = torch.randn(len(vertices), 5, generator=generator).requires_grad_()
    expected = interpolate_reference(attribute, faces, rasterize_reference(vertices, faces, cameras))
    use("nvdiffrast")
    # Worst measured 2.5e-6. The vertices' gradient runs through the weights, of which nvdiffrast takes two.
    found = interpolate(attribute, faces, rasterize(vertices, faces, cameras))
    compare([found], [expected], [attribute, vertices], 3e-5)


@pytest.mark.parametrize("kind", ["ball", "soup"])
def test_antialiasing_by_nvdiffrast_with_gradients(kind, use, generator):
    vertices, faces, cameras = ball_and_views()
    if kind == "soup":
        drawn, faces = soup(generator)
        vertices = drawn.detach().float().requires_grad_()
    fragments = rasterize_reference(vertices, faces, cameras)
    image = torch.rand(*fragments.triangle.shape, 3, generator=generator).requires_grad_()
    expected = antialias_reference(image, fragments, vertices, faces, cameras)
    asked = use("nvdiffrast")
    found = antialias(image, fragments, vertices, faces, cameras)
    assert asked == ["antialias"]
    assert not torch.equal(expected, image)
    # Worst measured 4.8e-7 of the largest entry, float32: crossings are computed from clip space and back.
    compare([found], [expected], [image, vertices], 1e-5)


@pytest.mark.parametrize("with_level", [False, True])
def test_texture_by_nvdiffrast_with_gradients(with_level, use, generator):
    texture = torch.rand(8, 4, 3, generator=generator).requires_grad_()
    uv = (torch.rand(2, 5, 6, 2, generator=generator) * 1.2 - 0.1).requires_grad_()
    level = torch.rand(2, 5, 6, 1, generator=generator) * 4 - 0.5 if with_level else None
    expected = sample_texture_reference(texture, uv, level)
    asked = use("nvdiffrast")
    # Worst measured 2.4e-7, float32.
    compare([sample_texture(texture, uv, level)], [expected], [texture, uv], 1e-5)
    assert asked == ["texture"]


def test_a_mip_map_that_does_not_halve_is_not_given_to_nvdiffrast(use, generator):
    texture, uv = torch.rand(6, 5, 3, generator=generator), torch.rand(1, 2, 2, 2, generator=generator)
    level = torch.ones(1, 2, 2, 1)
    expected = sample_texture(texture, uv, level)
    use("nvdiffrast")
    assert torch.equal(sample_texture(texture, uv, level), expected)


def test_no_library_is_asked_on_the_processor():
    for op in _library.OPS:
        assert _library.library(op, torch.zeros(1)) is None
