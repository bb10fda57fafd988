"""Converters that learn from pictures: any kind from any other, against a ball in closed form."""

from dataclasses import replace

import pytest
import torch
from analytic_fields import Ball
from field_kinds import small_field

from dreamkit.cameras import orbit
from dreamkit.convert.base import Conversion
from dreamkit.convert.fidelity import Fidelity, compare
from dreamkit.convert.pictures import Pictures
from dreamkit.convert.plan import find_route
from dreamkit.convert.to_field import ToField
from dreamkit.convert.to_gaussians import ToGaussians, seen_points
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.tet_mesh import TetMesh


def ball_scene(sharpness: float = 40.0) -> Scene:
    return Scene(Ball(0.5, sharpness, 0.03), renderer=VolumeRenderer(samples=64))


def finished(steps: Conversion) -> Fidelity:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_equal_scenes_have_no_loss(generator):
    cameras = orbit([0.0, 90.0], 15.0, 2.5, 40.0, 24, 24)
    terms = Pictures().terms(ball_scene(), ball_scene(), cameras, generator)
    assert {name: float(term) for name, term in terms.items()} == {"colors": 0.0, "opacities": 0.0, "depths": 0.0}


def test_each_term_reaches_the_student(generator):
    student = Scene(small_field("hash"), renderer=VolumeRenderer(samples=64))
    terms = Pictures().terms(ball_scene(), student, orbit([0.0], 15.0, 2.5, 40.0, 24, 24), generator)
    for term in terms.values():
        assert term.isfinite()
        term.backward(retain_graph=True)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.shape.network_parameters())


def test_seen_points_lie_on_the_ball(generator):
    scene = Scene(Ball(0.5, 400.0), renderer=VolumeRenderer(samples=256))
    points = seen_points(scene, 2000, generator)
    radius = points.norm(dim=-1)
    # Measured: mean 0.4955, 1st and 99th percentile 0.488 and 0.500: light ends a little inside.
    assert 0.48 < float(radius.quantile(0.01)) < float(radius.quantile(0.99)) < 0.505
    # All around: every octant has its share.
    assert torch.bincount((points > 0).long() @ torch.tensor([1, 2, 4]), minlength=8).min() > 100


def test_nothing_to_see_is_said(generator):
    with pytest.raises(ValueError, match="no surface to put Gaussians on"):
        seen_points(ball_scene(1e-6), 100, generator)


def test_gaussians_learn_a_field(generator):
    student = Scene(Gaussians(count=16), renderer=SplatRenderer())
    before = compare(ball_scene(), student)
    report = finished(ToGaussians(steps=60, size=48, count=1500).convert(ball_scene(), student))
    assert len(student.shape.state_dict()["positions"]) == 1500
    # Measured: 32.3 dB after, 13.6 before.
    assert report.median_psnr > 30 > 20 > before.median_psnr


def test_a_field_learns_gaussians(generator):
    teacher = Scene(Gaussians(count=500, opacity=0.9), renderer=SplatRenderer())
    student = Scene(small_field("hash", flat=True), renderer=VolumeRenderer(samples=64))
    report = finished(ToField(steps=60, size=32).convert(teacher, student))
    # Measured: 31.0 dB; opacity error 0.046, because 60 steps leave a haze.
    assert report.median_psnr > 28


def test_the_same_seed_makes_the_same_student():
    reports = []
    for _ in range(2):
        student = Scene(Gaussians(count=16), renderer=SplatRenderer())
        reports.append(finished(ToGaussians(steps=3, size=16, count=50).convert(ball_scene(), student, seed=7)))
    assert replace(reports[0], seconds=0.0) == replace(reports[1], seconds=0.0)


def test_routes():
    assert [hop.converter for hop in find_route(Gaussians, HashField)] == [ToField]
    assert [hop.converter for hop in find_route(TetMesh, HashField)] == [ToField]
    assert [hop.converter for hop in find_route(HashField, Gaussians)] == [ToGaussians]
    assert [hop.converter for hop in find_route(TetMesh, Gaussians)] == [ToGaussians]


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        Pictures(steps=0)
