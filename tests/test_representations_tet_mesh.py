"""Surfaces cut out of a grid: closed, never vanishing, differentiable, the same for the same seed."""

import math

import pytest
import torch

from dreamkit.mesh import Mesh
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.representations.flexi_mesh import FlexiMesh
from dreamkit.representations.grid_surface import GridSurface
from dreamkit.representations.tet_mesh import TetMesh

SMALL = {"levels": HashLevels(levels=2, log2_table_size=8), "hidden": 8}
KINDS = pytest.mark.parametrize("kind", [TetMesh, FlexiMesh])


def closed(shape: GridSurface) -> bool:
    a, b = (faces := shape.mesh().faces), faces.roll(-1, dims=1)
    forth, back = ((p * 10**6 + q).flatten().sort().values for p, q in ((a, b), (b, a)))
    return len(forth) > 0 and torch.equal(forth, back) and torch.equal(forth, forth.unique())


@KINDS
def test_a_fresh_surface_is_its_ellipsoid(kind: type[GridSurface]) -> None:
    shape = kind(resolution=24, size=(0.7, 0.5, 0.4), **SMALL)
    mesh = Mesh(shape.mesh().vertices.detach(), shape.mesh().faces)
    assert closed(shape)
    assert mesh.euler_characteristic == 2
    # 4/3 pi a b c. Worst measured: -3.6 % (flat cubes and tetrahedra inside the curved surface).
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.7 * 0.5 * 0.4, rel=0.05)
    assert mesh.vertices.abs().amax(dim=0).tolist() == pytest.approx([0.7, 0.5, 0.4], abs=0.02)


@KINDS
def test_the_surface_never_vanishes_and_never_leaves_the_cube(kind: type[GridSurface]) -> None:
    shape = kind(resolution=6, **SMALL)
    for value in (1.0, -1.0):
        torch.nn.init.constant_(shape.distance, value)
        assert closed(shape)
        assert shape.mesh().vertices.abs().max() <= 1
        assert Mesh(shape.mesh().vertices.detach(), shape.mesh().faces).volume > 0
        shape.mesh().vertices.square().sum().backward()
        assert shape.distance.grad.abs().sum() > 0


@KINDS
def test_noise_stays_closed(kind: type[GridSurface], generator: torch.Generator) -> None:
    shape = kind(resolution=8, **SMALL)
    with torch.no_grad():
        shape.distance.copy_(torch.randn(shape.distance.shape, generator=generator))
        shape.shift.copy_(3 * torch.randn(shape.shift.shape, generator=generator))
    assert closed(shape)


@KINDS
def test_vertices_match_finite_differences(kind: type[GridSurface], generator: torch.Generator) -> None:
    """rep T7.2, through shifts, distances and (for FlexiCubes) the cubes' weights."""
    shape = kind(resolution=4, size=(0.6, 0.6, 0.6), **SMALL).double()
    for parameter in shape.geometry_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 0.03 * noise
    loss = shape.mesh().vertices
    weight = torch.randn(loss.shape, generator=generator, dtype=torch.float64)
    (weight * loss).sum().backward()
    for parameter in shape.geometry_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            parameter.data += sign * 1e-6 * direction
            ends.append(float((weight * shape.mesh().vertices).sum().detach()))
            parameter.data -= sign * 1e-6 * direction
        slope = (ends[0] - ends[1]) / 2e-6
        # Worst measured: 2.1e-9 relative.
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-6)


@KINDS
def test_groups_hold_every_parameter_once_and_seeds_decide(kind: type[GridSurface]) -> None:
    shape, same, other = (kind(resolution=4, seed=seed, **SMALL) for seed in (3, 3, 4))
    groups = shape.parameter_groups()
    assert [group.name for group in groups] == ["geometry", "encoding", "networks"]
    listed = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(listed) == sorted(id(parameter) for parameter in shape.parameters())
    points = torch.linspace(-1, 1, 12).view(4, 3)
    assert torch.equal(shape.features(points), same.features(points))
    assert not torch.equal(shape.features(points), other.features(points))


def test_assigned_distances_are_clamped_and_undo_shifts() -> None:
    shape = TetMesh(resolution=8, **SMALL)
    torch.nn.init.ones_(shape.shift)
    shape.assign(10 * (shape.corners.norm(dim=-1) - 0.6))
    assert float(shape.distance.detach().abs().max()) == pytest.approx(3 * shape.cell)
    assert shape.shift.abs().max() == 0
    with pytest.raises(ValueError, match=r"thinner than a cell of 0\.250"):
        shape.assign(torch.ones(9**3))


def test_grids_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="resolution=1"):
        TetMesh(resolution=1)
    with pytest.raises(ValueError, match="positive semi-axes"):
        TetMesh(size=(0.5, 0.0, 0.5))


def test_flexicubes_have_two_triangles_a_quad_in_evaluation_and_four_in_training() -> None:
    shape = FlexiMesh(resolution=12, **SMALL)
    fan, plain = len(shape.train().mesh().faces), len(shape.eval().mesh().faces)
    assert fan == 2 * plain
    # DMTet needs three times as many triangles on the same grid; 3.36 here, 2.96 on 32^3.
    assert len(TetMesh(resolution=12, **SMALL).mesh().faces) / plain > 2.8
