"""A run whose scene changes its number of parts: it optimises, grows, and resumes to the last bit."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import Fault, small_distiller, small_plan

from dreamkit.materials.backgrounds import RandomSolid
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.representations.density_control import DensityControl
from dreamkit.representations.gaussians import Gaussians
from dreamkit.training.loop import train
from dreamkit.training.plan import Regularization


def cloud_scene() -> Scene:
    control = DensityControl(every=3, begin=0.0, finish=1.0, gradient=0.0, share=0.2, large=1.0, reset_every=7)
    return Scene(Gaussians(count=60, control=control), background=RandomSolid(), renderer=SplatRenderer())


def plan():
    terms = Regularization(splat_size=0.1, splat_anisotropy=0.1, splat_entropy=0.1)
    return replace(small_plan(), regularization=terms)


def equal(a: Scene, b: Scene) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_cloud_grows_while_it_learns() -> None:
    scene = cloud_scene()
    steps = list(train(scene, small_distiller(), plan()))
    assert len(scene.shape.positions) > 60
    assert {"splat_size", "splat_anisotropy", "splat_entropy"} <= set(steps[0].metrics)
    assert all(parameter.isfinite().all() for parameter in scene.parameters())


@pytest.mark.parametrize("stop", [3, 5, 8, 10])
def test_a_run_that_was_killed_resumes_to_the_last_bit(stop: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, cut, resumed = cloud_scene(), cloud_scene(), cloud_scene()
    list(train(whole, small_distiller(), plan()))
    list(itertools.islice(train(cut, small_distiller(), plan(), path=path), stop))
    list(train(resumed, small_distiller(), plan(), path=path, resume=True))
    assert equal(whole, resumed)


def test_a_rollback_undoes_growth() -> None:
    scene = cloud_scene()
    steps = list(train(scene, small_distiller(Fault(chance=0.25)), replace(plan(), steps=16)))
    assert any(step.note for step in steps)
    assert steps[-1].index == 16
    assert all(parameter.isfinite().all() for parameter in scene.parameters())
