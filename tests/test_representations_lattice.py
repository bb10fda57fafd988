"""Look-ups in lattices against torch's own interpolation, with all gradients."""

import pytest
import torch
from torch.nn import functional

from dreamkit.representations.lattice import lookup


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_linear_function_is_reproduced_exactly(axes, generator):
    line = torch.linspace(0, 1, 5, dtype=torch.float64)
    table = torch.stack(torch.meshgrid(*[line] * axes, indexing="ij"), dim=-1).reshape(-1, axes)
    points = torch.rand(50, axes, generator=generator, dtype=torch.float64)
    points = torch.cat([points, torch.zeros(1, axes), torch.ones(1, axes)]).double()
    # Measured: 2e-16.
    assert torch.allclose(lookup(points, table, 5), points, atol=1e-14)


def test_planes_and_boxes_agree_with_grid_sample(generator):
    points = torch.rand(40, 3, generator=generator)
    box, plane = torch.randn(4**3, 3, generator=generator), torch.randn(6**2, 2, generator=generator)
    where = (points * 2 - 1).flip(-1)
    there = functional.grid_sample(box.T.reshape(1, 3, 4, 4, 4), where.view(1, 1, 1, 40, 3), align_corners=True)
    # Measured: 5e-7 and 3e-7.
    assert torch.allclose(lookup(points, box, 4), there.view(3, 40).T, atol=1e-5)
    there = functional.grid_sample(plane.T.reshape(1, 2, 6, 6), where[:, 1:].view(1, 1, 40, 2), align_corners=True)
    assert torch.allclose(lookup(points[:, :2], plane, 6), there.view(2, 40).T, atol=1e-5)


def test_both_forms_give_the_same_and_all_gradients_match_differences(generator):
    points = torch.rand(10, 2, generator=generator, dtype=torch.float64)
    table = torch.randn(16, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    fused = lookup(points, table, 4)
    points.requires_grad_()
    # Measured: 1e-16.
    assert torch.allclose(fused, lookup(points, table, 4), atol=1e-14)
    assert torch.autograd.gradcheck(lambda p, t: lookup(p, t, 4), (points, table))
    assert torch.autograd.gradgradcheck(lambda p, t: lookup(p, t, 4), (points, table))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_bytes_do_not_depend_on_the_number_of_threads(axes, generator):
    points, table = torch.rand(5000, axes, generator=generator), torch.randn(9**axes, 8, generator=generator)
    cotangent = torch.randn(5000, 8, generator=generator)
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        leaf = table.clone().requires_grad_()
        out = lookup(points, leaf, 9)
        results.append((out.detach(), torch.autograd.grad(out, leaf, cotangent)[0]))
    torch.set_num_threads(before)
    for out, gradient in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_a_table_of_another_size_is_refused():
    with pytest.raises(ValueError, match="64 rows; the table has 10"):
        lookup(torch.zeros(1, 3), torch.zeros(10, 1), 4)
