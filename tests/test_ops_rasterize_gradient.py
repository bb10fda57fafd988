"""Derivatives of the rasteriser in the vertices: closed forms, finite differences, what has none."""

from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck
from triangle_soups import front, soup, views

from dreamkit.cameras import look_at, orbit
from dreamkit.ops.rasterize import Fragments, interpolate, rasterize, rasterize_reference

RUNS = pytest.mark.parametrize("run", [rasterize, rasterize_reference])


@RUNS
def test_barycentric_and_depth_against_finite_differences(run, generator: torch.Generator) -> None:
    vertices, faces = soup(generator)

    def smooth(vertices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = run(vertices, faces, views())
        return fragments.barycentric, fragments.depth

    assert run(vertices, faces, views()).mask.mean() > 0.2
    assert gradcheck(smooth, (vertices,), eps=1e-7)


@RUNS
def test_derivatives_reach_the_cameras(run, generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    cameras = views()

    def moved(position: torch.Tensor) -> torch.Tensor:
        up = torch.tensor([0.0, 1.0, 0.0]).double().expand_as(position)
        pose = look_at(position, torch.zeros_like(position), up)
        return run(vertices.detach(), faces, replace(cameras, pose=pose)).depth

    assert gradcheck(moved, (cameras.position.clone().requires_grad_(),), eps=1e-7)


@RUNS
def test_depth_of_a_plane_moves_with_the_plane(run) -> None:
    """A facing plane pushed away by d is d farther at every pixel, whichever vertex carries it: the sum is 1."""
    vertices = torch.tensor([[-3.0, -3, 0], [3, -3, 0], [0, 4, 0]], dtype=torch.float64, requires_grad=True)
    fragments = run(vertices, torch.tensor([[0, 1, 2]]), front())
    assert (fragments.triangle == 0).all()
    (gradient,) = torch.autograd.grad(fragments.depth.sum(), vertices)
    # Moving towards the camera (+Z) shortens every depth by as much. Worst measured 9e-14 of 126 pixels.
    assert abs(gradient[:, 2].sum() + fragments.depth.numel()) < 1e-11
    # Sliding the plane in itself changes no depth. Worst measured 6e-15.
    assert gradient[:, :2].abs().max() < 1e-11


@RUNS
def test_weights_sum_to_one_so_their_derivatives_cancel(run, generator: torch.Generator) -> None:
    vertices, faces = soup(generator)
    fragments: Fragments = run(vertices, faces, views())
    constant = interpolate(torch.ones(len(vertices), 1, dtype=torch.float64), faces, fragments)
    (gradient,) = torch.autograd.grad(constant.sum(), vertices)
    # Worst measured 1.2e-15.
    assert gradient.abs().max() < 1e-11


@RUNS
def test_what_is_not_drawn_has_a_zero_gradient(run) -> None:
    """Behind the camera, in its plane, at its centre, without area: zeros, and no NaN."""
    seen = [[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]]
    behind = [[-1.0, -1, 4], [1, -1, 4], [0, 1, 4]]
    plane = [[-1.0, -1, 2.5], [0, 0, 2.5], [0, 1, 2.5]]
    line = [[-1.0, -1, 1], [0, 0, 1], [1, 1, 1]]
    vertices = torch.tensor([*seen, *behind, *plane, *line], dtype=torch.float64, requires_grad=True)
    fragments = run(vertices, torch.arange(12).view(4, 3), front())
    assert set(fragments.triangle.unique().tolist()) == {-1, 0}
    (gradient,) = torch.autograd.grad(fragments.barycentric[..., 0].sum() + fragments.depth.sum(), vertices)
    assert gradient[:3].any()
    assert torch.equal(gradient[3:], torch.zeros(9, 3, dtype=torch.float64))


@RUNS
def test_faces_with_nan_or_infinite_corners_are_left_out(run) -> None:
    vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0], [0, torch.nan, 0], [torch.inf, 0, 0]])
    faces = torch.tensor([[0, 1, 3], [0, 1, 2], [1, 2, 4]])
    fragments = run(vertices, faces, orbit([0.0], height=9, width=9))
    assert set(fragments.triangle.unique().tolist()) == {-1, 1}
    assert all(part.isfinite().all() for part in (fragments.barycentric, fragments.depth))


def test_what_does_not_fit_is_refused() -> None:
    cameras = orbit([0.0], height=4, width=4)
    with pytest.raises(ValueError, match="faces name the rows 0 to 3; expected 0 to 2"):
        rasterize(torch.eye(3), torch.tensor([[0, 1, 3]]), cameras)
    with pytest.raises(ValueError, match="expected int64"):
        rasterize(torch.eye(3), torch.tensor([[0, 1, 2]], dtype=torch.int32), cameras)
    with pytest.raises(ValueError, match="expected float32 or float64"):
        rasterize(
            torch.eye(3).half(),
            torch.tensor([[0, 1, 2]]),
            replace(cameras, pose=cameras.pose.half(), fov=cameras.fov.half()),
        )
