"""The momentum teacher (rep card 2) in the fit of renders, for every kind of shape."""

import copy

import pytest
import torch
from analytic_fields import Ball

from dreamkit.convert.momentum import MomentumTeacher
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.tet_mesh import TetMesh


def scenes():
    yield Scene(Gaussians(count=40), renderer=SplatRenderer())
    yield Scene(TetMesh(resolution=6), renderer=MeshRenderer())


@pytest.mark.parametrize("student", scenes(), ids=lambda scene: type(scene.shape).__name__)
def test_t2_1_against_a_student_that_rests_the_distance_shrinks_by_the_momentum(student):
    slow = MomentumTeacher(student.shape, 0.9)
    name, parameter = next(iter(student.shape.named_parameters()))
    with torch.no_grad():
        parameter.add_(1.0)
    gaps = []
    for _ in range(3):
        slow.follow(student.shape)
        gaps.append((dict(slow.shape.named_parameters())[name] - parameter).abs().max().item())
    assert gaps == pytest.approx([0.9, 0.81, 0.729], abs=1e-6)
    slow.settle(student.shape)
    assert torch.equal(dict(student.shape.named_parameters())[name], dict(slow.shape.named_parameters())[name])


@pytest.mark.parametrize("student", scenes(), ids=lambda scene: type(scene.shape).__name__)
def test_a_fit_of_renders_ends_as_the_mean_of_its_past(student):
    teacher = Scene(Ball(0.5, 40.0, 0.03), renderer=VolumeRenderer(samples=24))
    before = copy.deepcopy(student.shape.state_dict())
    plain, slow = student, copy.deepcopy(student)
    metrics = {}
    for momentum, scene in ((0.0, plain), (0.9, slow)):
        fit = RenderedFit(steps=4, size=12, momentum=momentum)
        metrics[momentum] = [dict(step.metrics) for step in fit.run(teacher, scene, torch.Generator().manual_seed(0))]
    assert "momentum" not in metrics[0.0][0]
    # At the first step the student is its own past.
    assert metrics[0.9][0]["momentum"] == 0
    assert metrics[0.9][-1]["momentum"] > 0
    moved = [
        sum(float((value - before[name]).abs().sum()) for name, value in scene.shape.named_parameters())
        for scene in (plain, slow)
    ]
    assert 0 < moved[1] < 0.6 * moved[0]
