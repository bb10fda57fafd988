"""A coarse stage in the same run: what its table means, where it leads, and that it can be stopped anywhere."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SIZE

from dreamkit.construct import RecipeError
from dreamkit.convert.plan import NoRoute
from dreamkit.generate import generate, settled, starting_scene
from dreamkit.priors.analytic import gaussian
from dreamkit.recipe import Recipe, load_recipe, parse_recipe
from dreamkit.recipe_file import difference, merge
from dreamkit.rendering import Step
from dreamkit.training.plan import TrainingPlan

TINY = (
    "shape.resolution=12", "shape.levels.log2_table_size=8", "shape.levels.levels=3",
    "coarse.shape.count=200", "coarse.shape.opacity=0.9",
    "converter.fit.steps=1", "converter.fit.size=8", "converter.color_steps=1",
    "training.steps=4", "training.checkpoint_every=2", "coarse.training.steps=4",
    "export.frames=0", "export.size=16", "export.texture=64", "export.refine=0", "export.faces=200",
    "prompt.wording.enabled=false",
)  # fmt: skip


def tiny(*settings: str) -> Recipe:
    """`toybox-mesh` in miniature, for a prior whose pictures are all orange."""
    recipe = load_recipe("toybox-mesh", [*TINY, *settings]).asking("0", 0)
    assert recipe.coarse is not None
    coarse = replace(recipe.coarse, training=small(recipe.coarse.training))
    return replace(recipe, training=small(recipe.training), coarse=coarse)


def small(plan: TrainingPlan) -> TrainingPlan:
    return replace(plan, milestones=replace(plan.milestones, sizes=(SIZE,)))


def run(recipe: Recipe, out: Path, resume: bool = False) -> Iterator[Step]:
    prior = gaussian(torch.tensor([0.9, 0.5, 0.1]).expand(SIZE, SIZE, 3).contiguous(), 0.3)
    return generate(recipe, out, prior=prior, resume=resume)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coarse") / "whole"
    stages = [step.stage for step in run(tiny(), out)]
    assert list(dict.fromkeys(stages)) == ["coarse", "paint", "fit renders", "convert", "optimise", "export"]
    assert (stages.count("coarse"), stages.count("optimise")) == (4, 4)
    return out


def test_a_run_through_a_coarse_stage_is_a_run_of_the_last_shape(finished: Path) -> None:
    assert load_recipe(str(finished / "recipe.toml")).shape.name == "tet_mesh"
    assert "coarse" in json.loads((finished / "metrics.json").read_text())["seconds"]
    assert not list(finished.glob("coarse*")), "the stage's checkpoints are of no more use"
    entries = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert any("coarse stage was converted" in entry.get("note", "") for entry in entries)


@pytest.mark.parametrize(
    ("stage", "steps"), [("coarse", 1), ("coarse", 4), ("fit renders", 1), ("optimise", 1), ("optimise", 3)]
)
def test_stopped_anywhere_and_resumed_gives_the_same_bytes(
    finished: Path, tmp_path: Path, stage: str, steps: int
) -> None:
    taken = 0
    for step in run(tiny(), tmp_path / "stopped"):
        taken += step.stage == stage
        if taken == steps:
            break
    assert not (tmp_path / "stopped" / "asset.glb").exists()
    for _ in run(tiny(), tmp_path / "stopped", resume=True):
        pass
    assert (tmp_path / "stopped" / "asset.glb").read_bytes() == (finished / "asset.glb").read_bytes()


def test_the_stage_holds_what_differs_and_settings_reach_it() -> None:
    recipe = load_recipe("toybox-mesh", ["prompt.scale=12.0", "guidance.type='csd'"])
    assert recipe.coarse is not None
    assert (recipe.coarse.shape.name, recipe.shape.name) == ("gaussians", "tet_mesh")
    assert recipe.coarse.prompt.scale == 12.0
    assert recipe.coarse.guidance == recipe.guidance
    written = tomllib.loads(recipe.text())
    assert not {"prompt", "prior", "guidance", "cameras"} & set(written["coarse"])
    again = parse_recipe(written | {"prompt": {"scale": 5.0}})
    assert again.coarse is not None
    assert again.coarse.prompt.scale == 5.0


def test_a_new_prompt_is_new_for_the_stage_too() -> None:
    asked = load_recipe("toybox-mesh").asking("a bear", 7)
    assert asked.coarse is not None
    assert (asked.coarse.prompt.text, asked.coarse.seed) == ("a bear", 7)


def test_a_difference_put_back_is_the_whole() -> None:
    base = {"a": {"type": "x", "p": 1, "q": 2}, "b": {"start": 0.0, "end": 1.0}, "c": 3, "d": {"type": "y", "r": 1}}
    own = {"a": {"type": "x", "p": 1, "q": 5}, "b": {"start": 0.0, "end": 2.0}, "c": 3, "d": {"type": "z"}, "e": [1]}
    changed = difference(base, own)
    assert changed == {"a": {"q": 5}, "b": {"start": 0.0, "end": 2.0}, "d": {"type": "z"}, "e": [1]}
    assert merge(base, changed) == own


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["coarse=3"], "expected a table"),
        (["coarse.prior.model='other'"], "coarse.prior: one serves the whole run"),
        (["coarse.coarse.training.steps=3"], "coarse.coarse: one serves the whole run"),
        (["coarse.shape.cuont=3"], r"in \[coarse\]: shape: .*did you mean 'count'"),
        (["coarse.training.steps=0"], r"in \[coarse\]: training: .*steps >= 1"),
        (["converter.type='to_surfce'"], "did you mean 'to_surface'"),
    ],
)
def test_mistakes_in_the_stage_are_explained(settings: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("toybox-mesh", settings)


def test_a_stage_that_leads_nowhere_is_refused_before_time_is_spent(tmp_path: Path) -> None:
    with pytest.raises(NoRoute, match="to_gaussians cannot make tet_mesh of the coarse gaussians"):
        next(run(tiny("converter={type='to_gaussians'}"), tmp_path / "out"))
    both = replace(tiny(), edit=load_recipe("toybox-dds", ["edit.run=somewhere"]).edit)
    with pytest.raises(ValueError, match=r"leave out \[edit\] or \[coarse\]"):
        settled(both)
    with pytest.raises(ValueError, match="takes steps"):
        starting_scene(tiny())
    assert not (tmp_path / "out").exists()
