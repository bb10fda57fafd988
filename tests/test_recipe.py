"""Recipes: read, checked, completed, written."""

import tomllib

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.construct import RecipeError
from dreamkit.recipe import load_recipe, parse_recipe
from dreamkit.recipe_file import merge, names, read_table
from dreamkit.training.material_prior import MaterialPrior
from dreamkit.training.plan import Regularization


@pytest.mark.parametrize("name", names())
def test_every_recipe_in_the_box_reads_and_makes_a_scene(name: str) -> None:
    small = ["shape.levels.log2_table_size=10"] if "levels" in read_table(name, ())["shape"] else []
    loaded = load_recipe(name, small)
    assert loaded.about
    assert loaded.scene().parameter_groups()


@pytest.mark.parametrize("name", names())
def test_the_written_recipe_is_complete_and_reads_as_itself(name: str) -> None:
    text = load_recipe(name).asking("a red mug", 3).text()
    again = parse_recipe(tomllib.loads(text))
    assert again.text() == text
    assert (again.prompt.text, again.seed) == ("a red mug", 3)
    assert {"prior", "guidance", "training", "export", "cameras"} <= set(tomllib.loads(text))


def test_settings_overrule_the_file() -> None:
    loaded = load_recipe("toybox", ["training.steps=7", "prompt.negative=blurry", "cameras.distance=[2, 3]"])
    assert loaded.training.steps == 7
    assert loaded.prompt.negative == "blurry"
    assert loaded.cameras.distance == (2.0, 3.0)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.stesp=3", "did you mean 'steps'"),
        ("guidence.type='sds'", "did you mean 'guidance'"),
        ("training", "expected key=value"),
        ("training.steps=0", "steps >= 1"),
        ("seed.x=3", "is a value, not a section"),
    ],
)
def test_bad_settings_are_explained(setting: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("toybox", ["seed=1", setting] if setting.startswith("seed.") else [setting])


def test_unknown_recipes_get_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean 'toybox'"):
        load_recipe("toybx")


def test_missing_sections_and_broken_files_are_explained(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[prior")
    with pytest.raises(RecipeError, match="not a TOML file"):
        load_recipe(str(path))
    path.write_text("seed = 1")
    with pytest.raises(RecipeError, match=r"\[prior\]"):
        load_recipe(str(path))
    with pytest.raises(RecipeError, match="no file"):
        load_recipe(str(tmp_path / "none.toml"))


def test_every_regulariser_has_a_weight_in_the_plan() -> None:
    """Names in `Regularization` are functions of `training/regularizers.py` on renderings."""
    from dreamkit.training import regularizers

    assert all(callable(getattr(regularizers, name)) for name in Regularization.__dataclass_fields__)


def test_a_recipe_holds_only_its_difference_from_the_one_that_it_extends(tmp_path) -> None:
    (tmp_path / "base.toml").write_text('extends = "toybox"\nabout = "mine"\n[training]\nsteps = 7\n')
    path = tmp_path / "child.toml"
    path.write_text('extends = "base.toml"\n[guidance]\ntype = "csd"\n')
    mine, theirs = load_recipe(str(path)), load_recipe("toybox")
    assert (mine.about, mine.training.steps, type(mine.guidance).__name__) == ("mine", 7, "CSD")
    assert (mine.training.rates, mine.shape) == (theirs.training.rates, theirs.shape)


def test_another_type_or_schedule_inherits_nothing() -> None:
    base = {"levels": {"type": "window", "low": 0.1}, "training": {"steps": 5, "rates": {"encoding": 1}}}
    base["prompt"] = {"scale": {"start": 5.0, "end": 1.0, "begin": 0.5}}
    own = {"levels": {"type": "fixed"}, "training": {"rates": {"networks": 2}}}
    own["prompt"] = {"scale": {"start": 9.0, "end": 1.0}}
    assert merge(base, own) == {
        "levels": {"type": "fixed"},
        "prompt": {"scale": {"start": 9.0, "end": 1.0}},
        "training": {"steps": 5, "rates": {"encoding": 1, "networks": 2}},
    }


def test_circles_of_recipes_are_explained(tmp_path) -> None:
    for mine, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{mine}.toml").write_text(f'extends = "{other}.toml"')
    with pytest.raises(RecipeError, match="never ends"):
        read_table(str(tmp_path / "a.toml"))
    (tmp_path / "a.toml").write_text("extends = 3")
    with pytest.raises(RecipeError, match="expected the name of a recipe"):
        read_table(str(tmp_path / "a.toml"))


@pytest.mark.parametrize("name", [name for name in names() if load_recipe(name).training.material != MaterialPrior()])
def test_each_stage_of_a_recipe_has_the_material_that_its_prior_asks_about(name: str) -> None:
    recipe = load_recipe(name)
    cameras, generator = orbit([0.0], height=8, width=8), torch.Generator().manual_seed(0)
    for stage in filter(None, (recipe.coarse, recipe)):
        scene = stage.scene()
        stage.training.material.terms(scene, scene.render(cameras), cameras, 0.5, generator)
