"""Recipes: one TOML file that says everything about a run, checked when it is read.

A section constructs an object: `[guidance] type = "sds"` is `dreamkit.guidance.sds.SDS`, and the other keys are the
parameters of its constructor.
"""

import typing
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import tomli_w

from dreamkit.cameras import OrbitSampler
from dreamkit.construct import RecipeError, Spec, plain, read_spec, read_value, unknown
from dreamkit.convert.base import AbstractConverter
from dreamkit.export.asset import ExportPlan
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.levels import AbstractLevels
from dreamkit.guidance.noise import AbstractNoise, Fresh
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.debias import Debiasing
from dreamkit.priors.prompts import ViewPrompts, ViewRegions, ViewWording
from dreamkit.priors.shaping import AbstractShaping
from dreamkit.recipe_file import Table, difference, merge, read_table
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractShape
from dreamkit.schedules import Schedule
from dreamkit.training.plan import TrainingPlan

LONGEST = 10_000
"Characters of a prompt. Text encoders read a few hundred; what is longer was not meant as a prompt."


@dataclass(frozen=True)
class PromptPlan:
    """What to make, and how strongly to insist."""

    text: str = ""
    negative: str = ""
    scale: Schedule = 100.0
    "Guidance scale, `null + scale (text - null)`."
    wording: ViewWording = field(default_factory=ViewWording)
    regions: ViewRegions = field(default_factory=ViewRegions)
    debiasing: Debiasing | None = None
    "Leaves words out of the views that they speak against; needs a masked language model."

    def __post_init__(self) -> None:
        for text in (self.text, self.negative):
            _check_text(text)

    def worded(self, text: str) -> ViewPrompts:
        """The text worded for each view, and debiased where that was asked for."""
        if self.debiasing is None:
            return self.wording.prompts(text, self.negative)
        return self.debiasing.prompts(text, self.wording, self.negative)


@dataclass(frozen=True)
class EditPlan:
    """A finished run to start from, instead of from a fresh scene: for edits, and for a second stage."""

    run: str = ""
    "Its folder. The edited scene is of the same kind, whatever the recipe says about shape and material."
    prompt: str = ""
    "What it shows; without one, its own prompt."
    masked: bool = False
    "Whether guidances that compare with it act only where it is."


@dataclass(frozen=True)
class SourcePlan:
    """An asset that is there already, to start from instead of from a fresh scene or a coarse stage."""

    path: str = ""
    "A run's folder, or a GLB, glTF, OBJ, PLY, STL or OFF file; it is converted to the recipe's own kind of shape."
    sha256: str = ""
    "Of what it held when the run began, filled in then: a run goes on with nothing else."


_SPECS: dict[str, type] = {
    "prior": AbstractPrior,
    "shape": AbstractShape,
    "material": AbstractMaterial,
    "background": AbstractBackground,
    "renderer": AbstractRenderer,
}
"Sections whose objects are made anew for each run."
_CHOICES: dict[str, type] = {"guidance": AbstractGuidance, "levels": AbstractLevels, "shaping": AbstractShaping}
"Sections whose objects are frozen values."
_ONE_FOR_ALL = ("prior", "prompt", "edit", "source", "coarse", "converter", "export", "about", "seed")
"What a coarse stage cannot have of its own."


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a run, on a given machine."""

    prior: Spec
    shape: Spec
    material: Spec
    background: Spec
    renderer: Spec
    guidance: AbstractGuidance
    levels: AbstractLevels
    shaping: AbstractShaping
    prompt: PromptPlan = field(default_factory=PromptPlan)
    noise: AbstractNoise = field(default_factory=Fresh)
    cameras: OrbitSampler = field(default_factory=OrbitSampler)
    training: TrainingPlan = field(default_factory=TrainingPlan)
    export: ExportPlan = field(default_factory=ExportPlan)
    edit: EditPlan | None = None
    source: SourcePlan | None = None
    coarse: "Recipe | None" = None
    "A stage before this one in the same run, whose scene is converted to this shape; a file says what differs in it."
    converter: AbstractConverter | None = None
    "How the scene of the coarse stage, or the source, is converted; None takes what `dreamkit convert` takes."
    about: str = ""
    "One line for the list of recipes."
    seed: int = 0

    def scene(self) -> Scene:
        """A fresh scene, initialised from the seed."""
        shape = self.shape.build(seed=self.seed)
        return Scene(shape, self.material.build(), self.background.build(), self.renderer.build())

    def text(self) -> str:
        """The complete recipe as TOML: every option with its value, defaults included."""
        return tomli_w.dumps(_table(self))

    def asking(self, prompt: str, seed: int) -> "Recipe":
        """The same recipe for another prompt and seed."""
        coarse = None if self.coarse is None else self.coarse.asking(prompt, seed)
        return replace(self, prompt=replace(self.prompt, text=prompt), coarse=coarse, seed=seed)

    def adopting(self, source: "Recipe") -> "Recipe":
        """The same recipe for the source's kind of scene; an edit that does not say what that shows, says it.

        Schedules of the scene stand at their ends: an edit that began again with the coarse levels alone would lose the
        shape that it edits.
        """
        edit = None if self.edit is None else replace(self.edit, prompt=self.edit.prompt or source.prompt.text)
        kind = {name: getattr(source, name).finished() for name in ("shape", "material", "background", "renderer")}
        return replace(self, edit=edit, **kind)


def _check_text(text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"a prompt has at most {LONGEST} characters; this one has {len(text)}: {text[:40]!r}...")
    # Terminals obey control characters, and half a surrogate pair cannot be written to a file.
    steering = [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    if steering:
        raise ValueError(f"a prompt holds no control characters; found {steering[0]!r} in {text[:40]!r}. Remove it")


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name, or from a file (anything that ends in .toml or has a slash), with `key=value` settings.

    Raises RecipeError, which names the place in the recipe and what is known there.
    """
    return parse_recipe(read_table(name, settings))


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Check a recipe and construct what it says; raises RecipeError."""
    hints = typing.get_type_hints(Recipe)
    for key in table:
        if key not in hints:
            raise RecipeError(f"recipe: {unknown(repr(key), list(hints))}")
    for key in (*_SPECS, *_CHOICES):
        if not isinstance(table.get(key), dict):
            raise RecipeError(f"recipe: the section [{key}] with a `type` is missing")
    values: dict[str, Any] = {key: read_spec(key, table[key], base) for key, base in _SPECS.items()}
    values |= {key: read_spec(key, table[key], base).build() for key, base in _CHOICES.items()}
    others = [key for key in table if key not in values and key != "coarse"]
    values |= {key: read_value(key, table[key], hints[key]) for key in others}
    return Recipe(**values, coarse=_coarse(table))


def _coarse(table: Mapping[str, Any]) -> Recipe | None:
    """The stage that `[coarse]` describes by what differs from the rest of the table."""
    own = table.get("coarse")
    if own is None:
        return None
    if not isinstance(own, dict):
        raise RecipeError(f"recipe: coarse: expected a table, what differs from this recipe; got {own!r}")
    for key in _ONE_FOR_ALL:
        if key in own:
            raise RecipeError(f"recipe: coarse.{key}: one serves the whole run; say it outside of [coarse]")
    around = {key: value for key, value in table.items() if key not in ("source", "coarse", "converter")}
    try:
        return parse_recipe(merge(around, own))
    except RecipeError as error:
        raise RecipeError(f"in [coarse]: {error}") from error


def _table(recipe: Recipe) -> Table:
    """The complete recipe as plain values; a coarse stage by what differs, so that a setting changes both stages."""
    values = {entry.name: getattr(recipe, entry.name) for entry in reversed(fields(recipe))}
    coarse = values.pop("coarse")
    table = {name: plain(value) for name, value in values.items() if value is not None}
    if coarse is None:
        return table
    around = {key: value for key, value in table.items() if key not in ("source", "converter")}
    return {**table, "coarse": difference(around, _table(coarse))}
