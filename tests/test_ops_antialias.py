"""Silhouettes (rep T7.4): coverage, its derivative, finite differences, native against reference."""

import pytest
import torch
from scipy.spatial import ConvexHull
from torch.autograd import gradcheck
from triangle_soups import ball, front, icosphere, in_single, soup, views

from dreamkit.cameras import Cameras
from dreamkit.mesh import Mesh
from dreamkit.ops import _library
from dreamkit.ops.antialias import antialias, antialias_reference, opposite_vertices
from dreamkit.ops.rasterize import Fragments, interpolate, rasterize

RUNS = pytest.mark.parametrize("run", [antialias, antialias_reference])
native = pytest.mark.skipif(
    _library.backend_of("antialias", torch.device("cpu")).backend != "native", reason="no compiled kernels"
)
SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def square(right: float) -> torch.Tensor:
    """A rectangle in the plane z = 0 whose right side stands `right` pixels from the left of a 10-pixel image."""
    size = 2 * 2.5 * torch.tan(torch.deg2rad(torch.tensor(20.0, dtype=torch.float64)))
    x = (right / 10 - 0.5) * size
    rows = [[-0.3, -0.3, 0], [x, -0.3, 0], [x, 0.3, 0], [-0.3, 0.3, 0]]
    return torch.stack([torch.stack([torch.as_tensor(c, dtype=torch.float64) for c in row]) for row in rows])


def mask_of(run, vertices: torch.Tensor, faces: torch.Tensor, cameras) -> torch.Tensor:
    fragments = rasterize(vertices, faces, cameras)
    return run(fragments.mask, fragments, vertices, faces, cameras)


@RUNS
@pytest.mark.parametrize("right", [6.55, 6.7, 6.9, 7.0, 7.1, 7.3, 7.45])
def test_t7_4_a_pixel_is_covered_as_far_as_the_edge_reaches(run, right: float) -> None:
    """Column 6 ends at 7: coverage of column 6 is right - 6, of column 7 right - 7, for a white square on black."""
    row = mask_of(run, square(right), SQUARE, front(10, 10))[0, 5, :, 0]
    expected = torch.tensor([min(1.0, right - 6), max(0.0, right - 7)], dtype=torch.float64)
    # Worst measured 9e-16.
    assert (row[6:8] - expected).abs().max() < 1e-12
    # The left side is symmetrical to nothing in this test, but it has partial cover too, in one pixel at most.
    assert ((row > 0) & (row < 1)).sum() <= 2


@RUNS
def test_t7_4_derivative_of_coverage_is_one_per_pixel(run) -> None:
    """Moving the two right corners by one pixel covers one pixel more in each row that the edge crosses."""
    vertices = square(6.8).requires_grad_()
    image = mask_of(run, vertices, SQUARE, front(10, 10))
    (gradient,) = torch.autograd.grad(image[0, 5, :, 0].sum(), vertices)
    pixel = 2 * 2.5 * torch.tan(torch.deg2rad(torch.tensor(20.0, dtype=torch.float64))) / 10
    # Worst measured 2e-15.
    assert abs(gradient[1:3, 0].sum() * pixel - 1) < 1e-12


@RUNS
def test_t7_4_gradients_against_finite_differences(run, generator: torch.Generator) -> None:
    """In vertices and image at once, triangle ids held: coverage itself jumps."""
    vertices, faces = soup(generator, faces=6)
    cameras = views(16, 16)
    held = rasterize(vertices.detach(), faces, cameras)
    image = torch.rand(2, 16, 16, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert not torch.equal(run(image, held, vertices, faces, cameras), image)
    assert gradcheck(lambda v, i: run(i, held, v, faces, cameras), (vertices, image), eps=1e-7, fast_mode=True)


@RUNS
def test_inner_edges_and_equal_colours_change_nothing(run, generator: torch.Generator) -> None:
    mesh, cameras = ball(8), views(48, 48)
    vertices = mesh.vertices.requires_grad_()
    fragments = rasterize(vertices, mesh.faces, cameras)
    image = torch.rand(2, 48, 48, 3, generator=generator, dtype=torch.float64)
    out = run(image, fragments, vertices, mesh.faces, cameras)
    seen = fragments.mask[..., 0] > 0
    inner = seen.clone()
    for axis in (1, 2):
        for way in (-1, 1):
            inner &= seen.roll(way, dims=axis)
    assert inner.any()
    assert torch.equal(out[inner], image[inner])
    assert not torch.equal(out, image)
    flat = torch.full_like(image, 0.3)
    even = run(flat, fragments, vertices, mesh.faces, cameras)
    assert torch.equal(even, flat)
    (gradient,) = torch.autograd.grad(even.sum(), vertices)
    assert not gradient.any()


def hull_area(mesh: Mesh, cameras: Cameras, scale: float) -> float:
    """Area of a convex solid's image, in pixels."""
    return ConvexHull(cameras.project(mesh.vertices * scale)[0, :, :2].numpy()).volume


@RUNS
@pytest.mark.parametrize("angle", [10.0, 45.0])
def test_area_of_a_turned_square_and_its_derivative_in_the_size(run, angle: float) -> None:
    turn = torch.deg2rad(angle + 90 * torch.arange(4, dtype=torch.float64))
    mesh = Mesh(0.6 * torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=1), SQUARE)
    cameras = front(64, 64)[[0]]
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    area = mask_of(run, mesh.vertices * scale, mesh.faces, cameras).sum()
    (derivative,) = torch.autograd.grad(area, scale)
    exact = hull_area(mesh, cameras, 1.0)
    slope = (hull_area(mesh, cameras, 1 + 1e-4) - hull_area(mesh, cameras, 1 - 1e-4)) / 2e-4
    # Worst measured 1.5e-4 and 1.1e-2: rows that meet a corner of the square have two edges and blend one.
    assert abs(area / exact - 1) < 0.003
    assert abs(derivative / slope - 1) < 0.05


def test_area_of_a_round_solid() -> None:
    mesh, cameras = icosphere(2), front(64, 64)[[0]]
    area = mask_of(antialias, mesh.vertices, mesh.faces, cameras).sum()
    # Measured 0.6 % too small; the derivative is worse, see docs/results/rasterize.md.
    assert abs(area / hull_area(mesh, cameras, 1.0) - 1) < 0.01


def test_opposite_vertices_of_a_square_and_of_a_fan() -> None:
    assert opposite_vertices(SQUARE).tolist() == [[-1, 3, -1], [-1, -1, 1]]
    # Three faces on the edge (0, 1): each counts as a silhouette there.
    fan = torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4]])
    assert (opposite_vertices(fan) == -1).all()
    assert (opposite_vertices(ball(8).faces) >= 0).all()
    assert opposite_vertices(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3)


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["icosphere", "soup"])
def test_native_equals_reference_with_all_gradients(kind: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    cameras = views(65, 70) if dtype == torch.float64 else in_single(views(65, 70))
    mesh = icosphere(1)
    vertices, faces = (mesh.vertices, mesh.faces) if kind == "icosphere" else soup(generator, 40)
    vertices = (vertices.detach() * (1 if kind == "icosphere" else 2)).to(dtype).requires_grad_()
    image = torch.rand(2, 65, 70, 3, generator=generator, dtype=dtype).requires_grad_()
    cotangent = torch.randn(image.shape, generator=generator, dtype=dtype)
    fragments = rasterize(vertices.detach(), faces, cameras)

    def everything(run):
        out = run(image, fragments, vertices, faces, cameras)
        return out, *torch.autograd.grad(out, (image, vertices), cotangent)

    actual, expected = everything(antialias), everything(antialias_reference)
    assert (expected[0] != image).any(dim=-1).sum() > 100
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for a, e in zip(actual, expected, strict=True):
        # Worst measured: 3.4e-7 (float32), 5e-16 (float64), the vertices of the soup.
        assert (a - e).abs().max() <= tolerance * e.detach().abs().max()


@native
def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    mesh, cameras = icosphere(2), in_single(views(48, 48))
    vertices = mesh.vertices.float().requires_grad_()
    image = torch.rand(2, 48, 48, 3, generator=generator).requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = antialias(image, rasterize(vertices, mesh.faces, cameras), vertices, mesh.faces, cameras)
            results.append((out, *torch.autograd.grad(out, (image, vertices), out)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_whole_render_follows_a_target_by_its_silhouette(generator: torch.Generator) -> None:
    """Gradient descent on a mask alone moves a square by half a pixel to where the target has it."""
    cameras, target = front(10, 10), mask_of(antialias, square(6.9), SQUARE, front(10, 10))
    slide = torch.zeros((), dtype=torch.float64, requires_grad=True)
    side = torch.tensor([0.0, 1, 1, 0], dtype=torch.float64)[:, None] * torch.tensor([1.0, 0, 0])
    for _ in range(40):
        loss = (mask_of(antialias, square(6.4) + slide * side, SQUARE, cameras) - target).square().sum()
        (gradient,) = torch.autograd.grad(loss, slide)
        with torch.no_grad():
            slide -= 2e-3 * gradient
    # Measured 0 in float64.
    assert loss < 1e-6


@native
def test_second_derivative_is_refused_and_opcheck(generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    cameras = views()
    fragments: Fragments = rasterize(vertices.detach(), faces, cameras)
    image = interpolate(torch.rand(len(vertices), 2).double(), faces, fragments).requires_grad_()
    (first,) = torch.autograd.grad(
        antialias(image, fragments, vertices, faces, cameras).square().sum(), vertices, create_graph=True
    )
    with pytest.raises(RuntimeError, match="asks for a second"):
        torch.autograd.grad(first.sum(), vertices)
    projected = cameras.project(vertices).detach().requires_grad_()
    tensors = (projected, image, faces, opposite_vertices(faces), fragments.triangle, fragments.depth.detach())
    torch.library.opcheck(torch.ops.dreamkit.antialias.default, (*tensors, 1e-2))


def test_what_does_not_fit_is_refused(generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    fragments = rasterize(vertices, faces, views())
    with pytest.raises(ValueError, match="expected the same batch"):
        antialias(torch.zeros(2, 7, 8, 3).double(), fragments, vertices, faces, views())
    with pytest.raises(ValueError, match="expected all float32"):
        antialias(torch.zeros(2, 7, 9, 3), fragments, vertices, faces, views())
