"""Dual contours: manifold for every pattern of signs (rep T7.6), and differentiable."""

import torch
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.ops.cube_loops import loop_table, pinched_table
from dreamkit.ops.flexicubes import crossing_points, cut_cubes, developability, dual_vertices, triangles
from dreamkit.ops.marching_tets import grid_points

LOW, HIGH = -torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)


def closed(distance: Tensor, points: Tensor) -> Tensor:
    return torch.where((points.abs() > 0.999).any(dim=-1), 1.0, distance)


def surface(distance: Tensor, n: int, fan: bool = False) -> Mesh:
    points = grid_points(n, LOW, HIGH)
    cut = cut_cubes(distance < 0, n)
    ones = torch.ones(len(cut.cubes), 21, dtype=torch.float64)
    crossed = crossing_points(points, distance, cut, ones[:, :8], n)
    return Mesh(*triangles(dual_vertices(crossed, cut, ones[:, 8:20]), cut, ones[:, 20], fan))


def assert_manifold(mesh: Mesh) -> None:
    """Each directed edge once, its reverse once, and the faces at each vertex form a single fan."""
    faces, count = mesh.faces, len(mesh.vertices)
    a, b = faces, faces.roll(-1, dims=1)
    forth, back = (a * count + b).flatten(), (b * count + a).flatten()
    assert len(forth.unique()) == len(forth)
    assert torch.equal(forth.sort().values, back.sort().values)
    # Walking around a vertex, from edge to edge of its faces, must pass all of them: the links are single circles.
    following = {
        (int(p), int(q)): int(r) for f in faces.tolist() for p, q, r in (f, (f[1], f[2], f[0]), (f[2], f[0], f[1]))
    }
    valence = torch.bincount(faces.flatten(), minlength=count).tolist()
    for vertex, start in {int(p): int(q) for p, q in zip(a.flatten(), b.flatten(), strict=True)}.items():
        at, steps = following[vertex, start], 1
        while at != start:
            at, steps = following[vertex, at], steps + 1
        assert steps == valence[vertex]


def test_every_pattern_has_loops_over_exactly_its_crossed_edges() -> None:
    loops = loop_table()
    assert loops[0, 0].eq(-1).all()
    assert loops[255, 0].eq(-1).all()
    assert int(loops.max()) == 3
    # One corner inside: one loop of three edges. A checkerboard: four loops of three, or one loop joins more.
    assert (loops[1, 0] >= 0).sum() == 3
    checkerboard = sum(1 << c for c in range(8) if bin(c).count("1") % 2 == 0)
    assert loops[checkerboard, 0].bincount().tolist() == [3, 3, 3, 3]
    assert pinched_table()[checkerboard, 0].sum() == 0


def test_t7_6_random_distances_give_manifold_surfaces(generator: torch.Generator) -> None:
    """100 random grids: noise at every corner meets all patterns, the ambiguous ones included."""
    points = grid_points(6, LOW, HIGH)
    for _ in range(100):
        noise = torch.rand(len(points), generator=generator, dtype=torch.float64) - 0.5
        assert_manifold(surface(closed(noise, points), 6))


def test_a_pinched_face_is_split() -> None:
    """Two pairs of diagonal corners along a face: without the repair, four quads would meet in one edge."""
    inside = torch.ones(5, 5, 5, dtype=torch.bool)
    inside[[0, -1]] = inside[:, [0, -1]] = inside[:, :, [0, -1]] = False
    inside[2, 1, 1] = inside[2, 2, 2] = False
    inside[2, 1, 2] = inside[2, 2, 1] = True
    distance = torch.where(inside, -1.0, 1.0).double().flatten()
    assert_manifold(surface(distance, 4))


def test_a_ball_is_closed_with_the_right_volume() -> None:
    points = grid_points(32, LOW, HIGH)
    for fan, faces in ((False, 4812), (True, 9624)):
        ball = surface(points.norm(dim=-1) - 0.7, 32, fan)
        assert_manifold(ball)
        assert (len(ball.faces), ball.euler_characteristic) == (faces, 2)
        # 4/3 pi 0.7^3 = 1.43676.
        assert abs(ball.volume / 1.436755 - 1) < 0.01


def test_points_and_vertices_are_differentiable(generator: torch.Generator) -> None:
    """Finite differences in float64, with respect to distances, corners and all weights."""
    points = grid_points(3, LOW, HIGH)
    noise = torch.rand(len(points), generator=generator, dtype=torch.float64) + 0.1
    distance = torch.where(torch.rand(len(points), generator=generator) < 0.4, -noise, noise)
    cut = cut_cubes(distance < 0, 3)
    weights = torch.rand(len(cut.cubes), 21, generator=generator, dtype=torch.float64) + 0.5

    def run(points: Tensor, distance: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        crossed = crossing_points(points, distance, cut, weights[:, :8], 3)
        vertices = dual_vertices(crossed, cut, weights[:, 8:20])
        return triangles(vertices, cut, weights[:, 20], fan=True)[0], developability(crossed, vertices, cut)

    inputs = tuple(value.requires_grad_() for value in (points, distance, weights))
    # Float64; gradcheck's own tolerance of 1e-6, relative and absolute.
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, rtol=1e-6, fast_mode=True)
