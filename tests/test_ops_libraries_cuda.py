"""The field's libraries themselves behind our ops, against the references, with gradients; needs `--device cuda`.

The tolerances are wide guesses: no GPU has run these tests yet.
"""

import pytest
import torch
from test_ops_composite import draw, outputs
from test_ops_libraries import compare
from test_ops_march import rays
from triangle_soups import icosphere, in_single, views

from dreamkit.ops import _library
from dreamkit.ops.antialias import antialias, antialias_reference
from dreamkit.ops.composite import composite, composite_reference
from dreamkit.ops.hash_encode import hash_encode, hash_encode_reference
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.ops.march import march, march_reference
from dreamkit.ops.rasterize import interpolate, interpolate_reference, rasterize, rasterize_reference
from dreamkit.ops.texture import sample_texture, sample_texture_reference

TOLERANCE = 1e-3
"Of the largest entry: float32 against float32, sums in another order."


@pytest.fixture
def needs(device):
    """Skips unless the op's library serves float32 tensors on this device."""

    def check(op: str) -> None:
        if device.type != "cuda":
            pytest.skip("needs a GPU: pytest --device cuda")
        if _library.library(op, torch.zeros(1, device=device)) is None:
            pytest.skip(f"{_library.LIBRARIES[op]}: {_library._library_for(op)}")

    return check


def sphere(device, height=45, width=54):
    mesh = icosphere(2)
    vertices = mesh.vertices.float().to(device).requires_grad_()
    return vertices, mesh.faces.to(device), in_single(views(height, width)).to(device)


def test_nerfacc_marches(needs, device, generator):
    needs("march")
    origins, directions = (tensor.to(device) for tensor in rays(4000, generator))
    origins[0, 0] = torch.nan
    occupancy = (torch.rand(16, 16, 16, generator=generator) < 0.5).to(device)
    jitter = torch.rand(4000, generator=generator).to(device)
    settings = {"radius": 1.0, "near": 0.1, "far": 10.0, "step": 0.02, "jitter": jitter}
    found, expected = (run(origins, directions, occupancy, **settings) for run in (march, march_reference))
    key = [s.ray * 100_000 + (s.distance / 0.001).round().long() for s in (found, expected)]
    # Samples within rounding of a border may differ, and nothing else.
    shared = torch.isin(key[0], key[1]).sum()
    assert shared > 0.999 * max(len(key[0]), len(key[1]))
    assert (found.offsets[1:] - found.offsets[:-1] == torch.bincount(found.ray, minlength=4000)).all()


@pytest.mark.parametrize("stop", [0.0, 1e-2])
def test_nerfacc_composites(stop, needs, device, generator):
    needs("composite")
    drawn = [tensor.detach().to(device) for tensor in draw(generator, torch.float32, counts=(300, 7, 0, 500))]
    density, length, values, offsets, distance = drawn
    inputs = density.requires_grad_(), length, values.requires_grad_(), offsets, distance, stop
    compare(outputs(composite(*inputs)), outputs(composite_reference(*inputs)), [density, values], TOLERANCE)


@pytest.mark.parametrize("smoothstep", [False, True])
def test_tinycudann_encodes(smoothstep, needs, device, generator):
    needs("hash_encode")
    levels = HashLevels(8, 2, 12, 4, 1.7, smoothstep)
    table = torch.randn(levels.entries, 2, generator=generator).to(device).requires_grad_()
    points = torch.rand(5000, 3, generator=generator).to(device).requires_grad_()
    expected = hash_encode_reference(points, table, levels, 6)
    compare([hash_encode(points, table, levels, 6)], [expected], [points, table], TOLERANCE)


def test_nvdiffrast_rasterises(needs, device):
    needs("rasterize")
    vertices, faces, cameras = sphere(device)
    found, expected = (run(vertices, faces, cameras) for run in (rasterize, rasterize_reference))
    same = found.triangle == expected.triangle
    # Corners are rounded to 1/16 pixel: pixels along an edge may see the neighbour.
    assert same.float().mean() > 0.97
    mask = (same & (found.triangle >= 0)).unsqueeze(-1)
    parts = [[part * mask for part in (seen.barycentric, seen.depth)] for seen in (found, expected)]
    compare(*parts, [vertices], TOLERANCE)


def test_nvdiffrast_interpolates(needs, device, generator):
    needs("interpolate")
    vertices, faces, cameras = sphere(device)
    attribute = torch.randn(len(vertices), 5, generator=generator).to(device).requires_grad_()
    fragments = rasterize_reference(vertices, faces, cameras)
    found, expected = (run(attribute, faces, fragments) for run in (interpolate, interpolate_reference))
    compare([found], [expected], [attribute, vertices], TOLERANCE)


def test_nvdiffrast_antialiases(needs, device, generator):
    needs("antialias")
    vertices, faces, cameras = sphere(device)
    fragments = rasterize_reference(vertices, faces, cameras)
    image = torch.rand(*fragments.triangle.shape, 3, generator=generator).to(device).requires_grad_()
    found, expected = (run(image, fragments, vertices, faces, cameras) for run in (antialias, antialias_reference))
    compare([found], [expected], [image, vertices], TOLERANCE)


@pytest.mark.parametrize("with_level", [False, True])
def test_nvdiffrast_looks_textures_up(with_level, needs, device, generator):
    needs("texture")
    texture = torch.rand(16, 8, 3, generator=generator).to(device).requires_grad_()
    uv = (torch.rand(2, 9, 10, 2, generator=generator) * 1.2 - 0.1).to(device).requires_grad_()
    level = (torch.rand(2, 9, 10, 1, generator=generator) * 5 - 0.5).to(device) if with_level else None
    found, expected = (run(texture, uv, level) for run in (sample_texture, sample_texture_reference))
    compare([found], [expected], [texture, uv], TOLERANCE)
