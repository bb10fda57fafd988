"""Silhouettes: coverage and its derivative in closed form, hidden edges, finite differences."""

import math
from dataclasses import replace

import pytest
import torch
import trimesh
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.ops.antialias import antialias
from dreamkit.ops.rasterize import rasterize
from dreamkit.ops.silhouette import blend_silhouettes

SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def square(right: float = 0.5, depth: float = 0.0) -> Tensor:
    """A square that faces +Z, its right border at x = `right`."""
    corners = [[-0.5, -0.5], [right, -0.5], [right, 0.5], [-0.5, 0.5]]
    return torch.tensor([[*corner, depth] for corner in corners], dtype=torch.float64)


def camera(pixels: int = 8) -> Cameras:
    """Sees [-1, 1]^2 at depth z = 0 from distance 4: a pixel is 2 / `pixels` wide."""
    fov = math.degrees(2 * math.atan(1 / 4))
    return double(orbit([0.0], 0.0, 4.0, fov, pixels, pixels))


def double(cameras: Cameras) -> Cameras:
    return replace(cameras, pose=cameras.pose.double(), fov=cameras.fov.double())


def coverage(vertices: Tensor, faces: Tensor, cameras: Cameras) -> Tensor:
    fragments = rasterize(vertices, faces, cameras)
    return blend_silhouettes(fragments.mask.to(vertices), fragments, vertices, faces, cameras)


@pytest.mark.parametrize("shift", [-0.1, -0.04, 0.03, 0.11])
def test_t7_4_a_pixel_shows_the_share_that_is_covered(shift: float) -> None:
    """The border moves off the line between two pixels by `shift` of scene units, a quarter of which is a pixel."""
    alpha = coverage(square(0.5 + shift), SQUARE, camera())[0, 4, :, 0]
    covered = shift / 0.25
    expected = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0 + min(covered, 0), max(covered, 0), 0.0]
    # The camera's angle has float32 digits; measured 4.3e-9.
    assert torch.allclose(alpha, torch.tensor(expected, dtype=torch.float64), atol=1e-7)


def test_t7_4_the_derivative_is_the_contrast_over_a_pixel() -> None:
    """d(sum of coverage) / d(border) = rows / pixel, for the right and for the top border."""
    vertices = square(0.45).requires_grad_()
    coverage(vertices, SQUARE, camera()).sum().backward()
    # Each of the four rows that the border crosses changes by one pixel in 0.25; measured 2e-9 more.
    assert float(vertices.grad[[1, 2], 0].sum()) == pytest.approx(4 / 0.25, rel=1e-7)
    assert float(vertices.grad[[2, 3], 1].sum()) == pytest.approx(4 / 0.25, rel=0.05)


def test_edges_inside_a_flat_surface_and_behind_another_change_nothing() -> None:
    behind = torch.cat([square(), square(0.3, -1.0)])
    faces = torch.cat([SQUARE, SQUARE + 4])
    alone, both = coverage(square(), SQUARE, camera(16)), coverage(behind, faces, camera(16))
    assert torch.equal(alone, both)


@pytest.mark.parametrize("angle", [0.0, 33.0, 90.0, 200.0])
def test_area_of_a_ball_and_its_derivative(angle: float) -> None:
    ball = trimesh.creation.icosphere(3, 1.0)
    radius = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    cameras = double(orbit([angle], 20.0, 2.5, 40.0, 48, 48))
    area = coverage(radius * torch.tensor(ball.vertices), torch.tensor(ball.faces), cameras).mean()
    area.backward()
    scale = math.pi / (2 * math.tan(math.radians(20))) ** 2
    # Worst measured: -0.6 % of the area (flat triangles), 1.3 % of the slope.
    assert float(area.detach()) == pytest.approx(scale * 0.36 / (6.25 - 0.36), rel=0.01)
    assert float(radius.grad) == pytest.approx(scale * 1.2 * 6.25 / (6.25 - 0.36) ** 2, rel=0.03)


def test_gradients_match_finite_differences(generator: torch.Generator) -> None:
    """Colours and positions, away from the places where an edge passes a pixel's middle."""
    vertices = square(0.43) + 0.01 * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    cameras = camera(6)
    image = torch.rand(1, 6, 6, 2, generator=generator, dtype=torch.float64)

    def run(image: Tensor, vertices: Tensor) -> Tensor:
        return blend_silhouettes(image, rasterize(vertices, SQUARE, cameras), vertices, SQUARE, cameras)

    inputs = (image.requires_grad_(), vertices.requires_grad_())
    # Float64; gradcheck's own tolerance of 1e-6, relative and absolute.
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 15.0, 33.0, 140.0])
def test_of_a_single_triangle_it_is_the_antialias_op(angle: float) -> None:
    """All edges are silhouettes of the triangle that is seen: what the field's op asks is all that there is to ask."""
    vertices = torch.tensor([[-0.6, -0.5, 0.1], [0.5, -0.3, -0.2], [0.1, 0.6, 0.3]], dtype=torch.float64)
    cameras, faces = double(orbit([angle], 25.0, 2.5, 40.0, 40, 40)), SQUARE[:1]
    mine, theirs = both_ways(vertices, faces, cameras)
    # Float64: they differ in the order of operations; measured 4e-15.
    assert torch.allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 25.0, 71.0, 140.0])
def test_it_blends_all_that_the_antialias_op_blends_and_more(angle: float) -> None:
    """A box: beside a face's diagonal the triangle that is seen does not own the silhouette, which antialias misses.

    It blends 77 to 86 pixels along the outline, and misses 2 to 7.
    """
    box = trimesh.creation.box((1.0, 0.7, 0.8))
    vertices, faces = torch.tensor(box.vertices), torch.tensor(box.faces)
    cameras = double(orbit([angle], 25.0, 2.5, 40.0, 40, 40))
    hard = rasterize(vertices, faces, cameras).mask.to(vertices)
    mine, theirs = ((soft - hard).abs() for soft in both_ways(vertices, faces, cameras))
    assert (mine >= theirs - 1e-9).all()
    assert int((mine > 0).sum()) > int((theirs > 0).sum())


def both_ways(vertices: Tensor, faces: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Coverage by `blend_silhouettes` and by `antialias`."""
    fragments = rasterize(vertices, faces, cameras)
    ways = (fragments.mask.to(vertices), fragments, vertices, faces, cameras)
    return blend_silhouettes(*ways), antialias(*ways)


def test_nothing_to_see_stays_as_it_is() -> None:
    empty = torch.zeros(0, 3, dtype=torch.long)
    assert coverage(square(), empty, camera()).eq(0).all()
    behind = square() + torch.tensor([0.0, 0.0, 9.0], dtype=torch.float64)
    assert coverage(behind, SQUARE, camera()).eq(0).all()
