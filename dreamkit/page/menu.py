"""What a server's forms offer: recipes, priors, ideas, and the numbers that a recipe would use."""

from typing import Any

import gradio as gr
import torch

from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import names
from dreamkit.service.order import known_words
from dreamkit.service.runs import Runs

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"For listeners that only move what is on the page."


def use_of(recipe: Recipe) -> str:
    """What a recipe is for: it makes something "new", makes an "edit" of a run, or gives an asset a "texture"."""
    if recipe.edit is not None:
        return "edit"
    return "texture" if recipe.source is not None else "new"


class Menu:
    """The recipes in the box and the priors of one server."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        # Parsing says which recipes edit, and what each would take; a broken one must show now, not at a visitor's.
        self.recipes = {name: load_recipe(name) for name in names()}

    def choices(self, what: str) -> list[tuple[str, str]]:
        """The recipes of one use (`use_of`), those whose prior this server has first."""

        def reachable(recipe: Recipe) -> bool:
            return recipe.prior.arguments.get("model") in self.runs.priors

        found = {name: recipe for name, recipe in self.recipes.items() if use_of(recipe) == what}
        return [(name, name) for name in sorted(found, key=lambda name: (not reachable(found[name]), name))]

    def priors(self) -> list[tuple[str, str]]:
        """The priors on offer, the recipe's own first."""
        return [("as the recipe says", ""), *((name, name) for name in self.runs.priors)]

    def defaults(self, recipe: str) -> list[Any]:
        """Steps and prompt strength of a recipe; a strength that changes on the way is none."""
        scale = self.recipes[recipe].prompt.scale
        return [self.recipes[recipe].training.steps, scale if isinstance(scale, int | float) else None]

    def about(self, recipe: str, prior: str) -> list[Any]:
        """What a recipe is, what its prior knows, ideas for it, and its numbers."""
        words = known_words(self._model(recipe, prior))
        lists = (words.kinds, words.colors, words.patterns) if words is not None else ()
        told = "\n\n".join(", ".join(entries) for entries in lists)
        known = gr.Accordion(visible=words is not None)
        return [self.recipes[recipe].about, known, told, self.ideas(recipe, prior), *self.defaults(recipe)]

    def ideas(self, recipe: str, prior: str) -> gr.Dataset:
        """Fresh prompts out of the words that the prior knows; none where it knows any."""
        words = known_words(self._model(recipe, prior))
        fresh = torch.Generator()
        fresh.seed()
        return gr.Dataset(samples=[[idea] for idea in words.suggest(6, fresh)] if words else [], visible=bool(words))

    def _model(self, recipe: str, prior: str) -> str:
        return prior or str(self.recipes[recipe].prior.arguments.get("model", ""))
