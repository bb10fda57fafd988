"""The native rasteriser against the reference, with all gradients; threads; what torch must know about it."""

import pytest
import torch
from triangle_soups import ball, front, in_single, soup, views

from dreamkit.cameras import orbit
from dreamkit.mesh import Mesh
from dreamkit.ops import _library
from dreamkit.ops.rasterize import (
    interpolate,
    interpolate_reference,
    rasterize,
    rasterize_chart,
    rasterize_reference,
)

pytestmark = pytest.mark.skipif(
    _library.backend_of("rasterize", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def scene(kind: str, generator: torch.Generator, dtype: torch.dtype):
    """Vertices, faces and cameras: many small triangles, or few that are larger than the image and cross `near`."""
    if kind == "ball":
        mesh, cameras = ball(), views(65, 70)
        vertices, faces = mesh.vertices, mesh.faces
    else:
        vertices, faces = soup(generator, faces=40)
        vertices, cameras = vertices.detach() * 4, views(65, 70)
    if dtype == torch.float32:
        cameras = in_single(cameras)
    return vertices.to(dtype).requires_grad_(), faces, cameras


@TYPES
@pytest.mark.parametrize("kind", ["ball", "giants"])
@pytest.mark.parametrize("cull", [False, True])
def test_native_equals_reference(kind: str, cull: bool, dtype: torch.dtype, generator: torch.Generator) -> None:
    vertices, faces, cameras = scene(kind, generator, dtype)
    actual = rasterize(vertices, faces, cameras, cull=cull)
    expected = rasterize_reference(vertices, faces, cameras, cull=cull)
    assert 0.2 < expected.mask.mean() <= 1
    # The same additions in the same order, so the same bits; measured 0 differences.
    assert torch.equal(actual.triangle, expected.triangle)
    assert torch.equal(actual.barycentric, expected.barycentric)
    assert torch.equal(actual.depth, expected.depth)


@TYPES
@pytest.mark.parametrize("kind", ["ball", "giants"])
def test_native_gradients_equal_those_of_the_reference(
    kind: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    vertices, faces, cameras = scene(kind, generator, dtype)
    attribute = torch.randn(len(vertices), 5, generator=generator, dtype=dtype).requires_grad_()

    def gradients(render, look_up):
        fragments = render(vertices, faces, cameras)
        image = look_up(attribute, faces, fragments)
        noise = torch.Generator().manual_seed(1)
        cotangents = [torch.randn(o.shape, generator=noise, dtype=dtype) for o in (image, fragments.depth)]
        return image, *torch.autograd.grad([image, fragments.depth], [vertices, attribute], cotangents)

    pairs = zip(gradients(rasterize, interpolate), gradients(rasterize_reference, interpolate_reference), strict=True)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for actual, expected in pairs:
        scale = expected.detach().abs().max()
        # Worst measured, relative to the largest entry: 1.2e-6 (float32), 7.2e-15 (float64), both the giants' vertices.
        assert (actual - expected).abs().max() <= tolerance * scale


def test_single_precision_is_near_double(generator: torch.Generator) -> None:
    """Where both see the same triangle; they may differ in who wins along an edge."""
    vertices, faces, cameras = scene("ball", generator, torch.float64)
    exact = rasterize_reference(vertices, faces, cameras)
    single = rasterize(vertices.detach().float(), faces, in_single(cameras))
    same = single.triangle == exact.triangle
    # Measured: all the same; 7.7e-6 at a grazing face.
    assert same.double().mean() > 0.995
    assert (single.depth - exact.depth)[same].abs().max() < 3e-5


def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    vertices, faces, cameras = scene("ball", generator, torch.float32)
    attribute = torch.randn(len(vertices), 5, generator=generator).requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            fragments = rasterize(vertices, faces, cameras)
            image = interpolate(attribute, faces, fragments)
            gradients = torch.autograd.grad((image, fragments.depth), (vertices, attribute), (image, fragments.depth))
            results.append((fragments.triangle, fragments.barycentric, fragments.depth, image, *gradients))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_one_view_is_the_same_alone_and_in_a_batch(generator: torch.Generator) -> None:
    vertices, faces, cameras = scene("ball", generator, torch.float32)
    together, alone = rasterize(vertices, faces, cameras), rasterize(vertices, faces, cameras[[1]])
    assert torch.equal(together.triangle[1:], alone.triangle)
    assert torch.equal(together.barycentric[1:], alone.barycentric)


def test_chart_native_equals_reference(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    uv = torch.rand(30, 2, generator=generator)
    faces = torch.randint(0, 30, (40, 3), generator=generator)
    actual = rasterize_chart(uv, faces, 33)
    monkeypatch.setenv("DREAMKIT_BACKEND", "reference")
    expected = rasterize_chart(uv, faces, 33)
    assert expected.mask.mean() > 0.5
    assert torch.equal(actual.triangle, expected.triangle)
    assert torch.equal(actual.barycentric, expected.barycentric)


def test_t7_5_shared_edges_are_covered_once_by_a_convex_solid() -> None:
    """Every ray through the middle of a cube's silhouette meets one front face: no gap on edges, one winner."""
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = torch.tensor([[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)])
    assert Mesh(corners, faces).volume == pytest.approx(1)
    for azimuth in (0.0, 45.0, 30.0):
        cameras = orbit([azimuth], 35.0, 3.0, height=64, width=64)
        rays = cameras.rays()
        # Slabs: the ray meets the cube where the last entry comes before the first exit.
        a, b = (side * 0.5 / rays.directions - rays.origins / rays.directions for side in (-1, 1))
        enter, leave = torch.minimum(a, b).amax(dim=-1), torch.maximum(a, b).amin(dim=-1)
        fragments = rasterize(corners, faces, cameras, cull=True)
        clear = (leave - enter).abs() > 1e-5
        assert torch.equal((fragments.triangle >= 0)[clear], (leave > enter)[clear])


def test_empty_mesh_and_empty_attribute() -> None:
    nothing = torch.zeros(0, 3, dtype=torch.long)
    vertices = torch.zeros(0, 3, requires_grad=True)
    fragments = rasterize(vertices, nothing, in_single(front(4, 4)))
    image = interpolate(torch.zeros(0, 2), nothing, fragments)
    assert (fragments.triangle == -1).all()
    assert not image.any()
    (gradient,) = torch.autograd.grad(fragments.depth.sum(), vertices)
    assert gradient.shape == (0, 3)


def test_second_derivative_is_refused_in_our_words(generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    depth = rasterize(vertices, faces, views()).depth
    (first,) = torch.autograd.grad(depth.sum(), vertices, create_graph=True)
    with pytest.raises(RuntimeError, match="asks for a second"):
        torch.autograd.grad(first.sum(), vertices)


def test_opcheck(generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    projected = views().project(vertices).detach().requires_grad_()
    torch.library.opcheck(torch.ops.dreamkit.rasterize.default, (projected, faces, 7, 9, 1e-2, False))
    barycentric, _, triangle = torch.ops.dreamkit.rasterize(projected, faces, 7, 9, 1e-2, False)
    attribute = torch.rand(len(vertices), 2, generator=generator, dtype=torch.float64).requires_grad_()
    arguments = (attribute, faces, triangle, barycentric.detach().requires_grad_())
    torch.library.opcheck(torch.ops.dreamkit.interpolate.default, arguments)
