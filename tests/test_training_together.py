"""Runs that share a prior: each ends where it ends alone, whatever its neighbours do."""

import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import Fault, small_distiller, small_plan, small_scene

from dreamkit.guidance.sds import SDS
from dreamkit.guidance.sid import SiD
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.base import AbstractPrior
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.training.loop import train
from dreamkit.training.plan import TrainingPlan
from dreamkit.training.run import Distiller
from dreamkit.training.together import Share, together

Job = Callable[[Share], Generator[Step]]


class Counting(GaussianMixture):
    """Notes how many rows each call had."""

    def __init__(self, prior: AbstractPrior) -> None:
        assert isinstance(prior, GaussianMixture)
        super().__init__(prior.means, prior.stds)
        self.predicted: list[int] = []
        self.encoded: list[int] = []

    def encode(self, images, generator=None):
        self.encoded.append(len(images))
        return super().encode(images, generator)

    def _predict(self, noised, t, condition):
        self.predicted.append(len(noised))
        return super()._predict(noised, t, condition)


def job(scene: Scene, distiller: Distiller, plan: TrainingPlan, seed: int, **options) -> Job:
    def run(share: Share) -> Generator[Step]:
        yield from train(scene, replace(distiller, prior=share(distiller.prior)), plan, seed=seed, **options)

    return run


def apart(scenes: list[Scene], others: list[Scene]) -> float:
    """The largest difference between any two numbers."""
    states = [
        zip(*(scene.state_dict().values() for scene in pair), strict=True) for pair in zip(scenes, others, strict=True)
    ]
    return max(float((p.double() - q.double()).abs().max()) for state in states for p, q in state)


def alone(distiller: Distiller, plan: TrainingPlan, *seeds: int) -> list[Scene]:
    scenes = [small_scene(seed) for seed in seeds]
    for scene, seed in zip(scenes, seeds, strict=True):
        list(train(scene, distiller, plan, seed=seed))
    return scenes


def packed(distiller: Distiller, plan: TrainingPlan, *seeds: int) -> list[Scene]:
    scenes = [small_scene(seed) for seed in seeds]
    list(together([job(scene, distiller, plan, seed) for scene, seed in zip(scenes, seeds, strict=True)]))
    return scenes


def test_a_pack_ends_where_its_runs_end_alone() -> None:
    """With a prior that treats rows apart, to the last bit."""
    distiller, plan = small_distiller(), small_plan()
    assert apart(packed(distiller, plan, 0, 1, 2), alone(distiller, plan, 0, 1, 2)) == 0


def test_a_step_of_a_pack_is_one_call_of_each_kind() -> None:
    distiller = small_distiller()
    prior = Counting(distiller.prior)
    packed(replace(distiller, prior=prior), small_plan(steps=5), 0, 1, 2)
    # Three runs, two views each, under two prompts.
    assert prior.predicted == [3 * 2 * 2] * 5
    assert prior.encoded == [3 * 2] * 5


def test_every_step_is_heard_and_only_one_run_goes_on_at_a_time() -> None:
    scenes, plan = [small_scene(seed) for seed in range(3)], small_plan(steps=4)
    jobs = [job(scene, small_distiller(), plan, seed) for seed, scene in enumerate(scenes)]
    heard = [(index, step.index) for index, step in together(jobs)]
    assert heard == [(index, step) for step in range(1, 5) for index in range(3)]


def test_runs_of_other_lengths_and_methods_share_what_they_can(tmp_path: Path) -> None:
    """One run is three steps long, one goes on from a checkpoint, one predicts with a graph of its own (SiD)."""
    distiller, learning = small_distiller(), small_distiller(SiD())
    short, plan = small_plan(steps=3), small_plan(steps=8)
    path = tmp_path / "checkpoint.safetensors"
    begun = train(small_scene(1), distiller, plan, seed=1, path=path)
    assert [next(begun).index for _ in range(5)][-1] == 5
    scenes = [small_scene(0), small_scene(1), small_scene(2)]
    heard = list(
        together(
            [
                job(scenes[0], distiller, short, 0),
                job(scenes[1], distiller, plan, 1, path=path, resume=True),
                job(scenes[2], learning, plan, 2),
            ]
        )
    )
    assert [sum(index == run for index, _ in heard) for run in range(3)] == [3, 4, 8]
    expected = [*alone(distiller, short, 0), *alone(distiller, plan, 1), *alone(learning, plan, 2)]
    assert apart(scenes, expected) == 0


def test_a_run_that_returns_from_nan_leaves_its_neighbours_alone() -> None:
    sound, faulty, plan = small_distiller(), small_distiller(Fault(chance=0.15)), small_plan(steps=16)
    scenes = [small_scene(seed) for seed in (0, 0, 2)]
    heard = list(
        together([job(scenes[0], sound, plan, 0), job(scenes[1], faulty, plan, 0), job(scenes[2], sound, plan, 2)])
    )
    assert {index for index, step in heard if step.note} == {1}
    assert apart(scenes, [*alone(sound, plan, 0), *alone(faulty, plan, 0), *alone(sound, plan, 2)]) == 0


class Broken(SDS):
    """Stops the world at its third step."""

    def residual(self, prior, view, state):
        if view.progress >= 0.5:
            raise LookupError("broken")
        return super().residual(prior, view, state)


def test_an_exception_of_a_run_comes_out_and_no_thread_is_left() -> None:
    before = threading.active_count()
    closed: list[int] = []

    def guarded(inner: Job, index: int) -> Job:
        def run(share: Share) -> Generator[Step]:
            try:
                yield from inner(share)
            finally:
                closed.append(index)

        return run

    plan = small_plan(steps=4)
    jobs = [job(small_scene(), small_distiller(method), plan, 0) for method in (SDS(), Broken(), SDS())]
    with pytest.raises(LookupError, match="broken"):
        list(together([guarded(inner, index) for index, inner in enumerate(jobs)]))
    assert sorted(closed) == [0, 1, 2]
    closed.clear()
    steps = together([guarded(inner, index) for index, inner in enumerate(jobs)])
    assert next(steps)[0] == 0
    steps.close()
    assert sorted(closed) == [0, 1, 2]
    assert threading.active_count() == before


class Refusing(Counting):
    """Takes no more than four rows at a time."""

    def _predict(self, noised, t, condition):
        if len(noised) > 4:
            raise MemoryError("too many rows")
        return super()._predict(noised, t, condition)


def test_an_error_of_a_shared_call_is_raised_in_every_run_that_took_part() -> None:
    distiller = small_distiller()
    crowded = replace(distiller, prior=Refusing(distiller.prior))

    def told(inner: Job) -> Callable[[Share], Generator[Step | str]]:
        def run(share: Share) -> Generator[Step | str]:
            try:
                yield from inner(share)
            except MemoryError as error:
                yield str(error)

        return run

    jobs = [told(job(small_scene(), crowded, small_plan(), seed)) for seed in range(2)]
    assert list(together(jobs)) == [(0, "too many rows"), (1, "too many rows")]
