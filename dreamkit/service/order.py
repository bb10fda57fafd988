"""What a visitor asks for, checked before it waits for the device."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamkit.construct import RecipeError
from dreamkit.names import existing
from dreamkit.priors.locate import locate
from dreamkit.priors.vocabulary import Vocabulary
from dreamkit.recipe import Recipe, parse_recipe
from dreamkit.recipe_file import apply_settings, extend_table, prior_settings, read_table
from dreamkit.service.limits import check_table
from dreamkit.service.upload import Upload

LONGEST_PROMPT = 500
LARGEST_UPLOAD = 64 * 1024


@dataclass(frozen=True)
class Order:
    """A prompt, and how it is to be made. Nothing in it is trusted."""

    prompt: str
    recipe: str = "toybox"
    "A recipe in the box."
    upload: bytes = b""
    "A recipe file, which takes the place of `recipe`."
    prior: str = ""
    "A prior on offer; without one, the recipe's own."
    seed: int = 0
    settings: tuple[str, ...] = ()
    "`key=value`, as after `--set`."
    source: str = ""
    "The run to edit, or to refine."
    refines: bool = False
    "Whether what is there is changed by another recipe's own stage, instead of being edited."
    asset: Upload | None = None
    "A file to refine; it takes the place of `source`."

    def checked(self, priors: Sequence[str], source: Path | None = None) -> Recipe:
        """The recipe that carries the order out; `source` is the folder of the run to edit or to refine.

        Raises ValueError (RecipeError, UnknownWords) saying what is wrong and what is possible.
        """
        check_prompt(self.prompt)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"a seed lies between 0 and {2**32 - 1}; got {self.seed}")
        try:
            recipe = self._read(priors, source)
        except RecursionError as error:
            raise RecipeError("a value is nested too deeply to be read") from error
        self._check_start(recipe, source)
        check_words(self.prompt, str(recipe.prior.arguments.get("model", "")))
        return recipe.asking(self.prompt.strip(), self.seed)

    def _check_start(self, recipe: Recipe, source: Path | None) -> None:
        """Whether the recipe and what it is to start from fit together."""
        if self.refines:
            if source is None and self.asset is None:
                raise ValueError("choose a finished run, or upload a file: there must be something to change")
            if recipe.edit is not None:
                raise ValueError("this recipe edits a finished run: choose one on the Edit tab, or another recipe here")
            return
        if recipe.source is not None:
            raise ValueError("this recipe changes an asset that is there already: choose one on the Refine tab")
        if recipe.edit is not None and source is None:
            raise ValueError("this recipe edits a finished run: choose one on the Edit tab")
        if recipe.edit is None and source is not None:
            raise ValueError("this recipe makes something new: choose one that edits, such as toybox-dds")

    def _read(self, priors: Sequence[str], source: Path | None) -> Recipe:
        table = self._uploaded() if self.upload else read_table(_bare(self.recipe))
        apply_settings(table, [*self.settings, *prior_settings(self.prior or None)])
        edits = isinstance(table.get("edit"), dict)
        if edits and source is not None:
            table["edit"]["run"] = ""
        if self.refines:
            table["source"] = {}
        check_table(table, priors)
        if edits and source is not None:
            table["edit"]["run"] = str(source)
        if self.refines and source is not None:
            table["source"] = {"path": str(source)}
        return parse_recipe(table)

    def _uploaded(self) -> dict:
        if len(self.upload) > LARGEST_UPLOAD:
            raise RecipeError(f"a recipe file has at most {LARGEST_UPLOAD} bytes; this one has {len(self.upload)}")
        try:
            own = tomllib.loads(self.upload.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"the uploaded recipe is not a TOML file: {error}") from error
        if isinstance(own.get("extends"), str):
            _bare(own["extends"])
        return extend_table(own)


def check_prompt(prompt: str) -> None:
    """Raise ValueError for a prompt that is empty, too long, or holds characters that cannot be seen."""
    if not prompt.strip():
        raise ValueError("the prompt is empty; say what to make, for example: a red mug")
    if len(prompt) > LONGEST_PROMPT:
        raise ValueError(f"a prompt has at most {LONGEST_PROMPT} characters; this one has {len(prompt)}")
    hidden = sorted({f"U+{ord(letter):04X}" for letter in prompt if not letter.isprintable()})
    if hidden:
        raise ValueError(f"the prompt holds characters that cannot be seen ({', '.join(hidden)}); write it on one line")


def check_words(prompt: str, model: str) -> None:
    """Raise UnknownWords at once where the prior is at hand and has a closed vocabulary; others are asked later."""
    vocabulary = known_words(model)
    if vocabulary is not None:
        vocabulary.check([prompt], model)


def known_words(model: str) -> Vocabulary | None:
    """The vocabulary of a prior in the box or in a local folder; None where any prompt will do."""
    local = existing(model)
    if model != "toybox" and (local is None or not local.is_dir()):
        return None
    return Vocabulary.of(locate(model))


def _bare(name: str) -> str:
    """A name from the box, never a file: recipes of strangers do not choose what is read."""
    if "/" in name or "\\" in name or name.endswith(".toml"):
        raise RecipeError(f"recipe: only recipes in the box can be named here; got {name[:80]!r}")
    return name
