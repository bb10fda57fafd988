"""What is fuzzed: readers of strangers' input. Each case is a number, so that it can be run again alone."""

import html.parser
import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from random import Random

import tomli_w
import torch
from importers import Importers
from mutation import TEXTS, random_value, spoiled_bytes, spoiled_glb, spoiled_text, spoiled_tree
from target import AbstractTarget

from dreamkit.batch.prompt_file import read_prompts
from dreamkit.batch.task import Defaults, plan_tasks
from dreamkit.construct import RecipeError
from dreamkit.export.gltf import write_glb
from dreamkit.recipe import load_recipe, parse_recipe
from dreamkit.recipe_file import names, read_table
from dreamkit.representations.textured_mesh import ball
from dreamkit.service import markup
from dreamkit.service.order import Order
from dreamkit.service.run import Snapshot, State
from dreamkit.service.runs import Runs
from dreamkit.service.upload import Upload

PROMPTS = Path(__file__).parents[2] / "prompts"


class Recipes(AbstractTarget):
    """Recipe files and settings. What is taken can be written and read again as it is."""

    refusals = (RecipeError,)

    @cached_property
    def good(self) -> tuple[dict, ...]:
        """The recipes in the box, completed."""
        return tuple(read_table(name) for name in names())

    def attempt(self, random: Random) -> None:
        table = random.choice(self.good)
        kind = random.randrange(3)
        if kind == 0:
            recipe = parse_recipe(spoiled_tree(random, table))
        elif kind == 1:
            path = self.folder / "recipe.toml"
            text = spoiled_text(random, tomli_w.dumps(table))
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            recipe = load_recipe(str(path))
        else:
            recipe = load_recipe(random.choice(names()), _settings(random, table))
        again = parse_recipe(tomllib.loads(recipe.text()))
        assert again.text() == recipe.text()


class Prompts(AbstractTarget):
    """Prompt files of all three kinds, as far as the plan of a batch. No folder leads out of the output folder."""

    @cached_property
    def good(self) -> Mapping[str, str]:
        """Whole files by their ending."""
        stress = (PROMPTS / "stress.jsonl").read_text(encoding="utf-8").split("\n")
        table = "prompt,seed,prompt.scale,#why\n" + '"a red mug",3,20,x\na blue cat,,,"two\nlines"\n'
        lines = "# toys\na red mug --seed 3 --set prompt.scale=20\na blue cat\na car --steps 7 --recipe toybox-csd\n"
        return {".txt": lines, ".csv": table, ".jsonl": "\n".join(line for line in stress if len(line) < 200)}

    def attempt(self, random: Random) -> None:
        ending = random.choice(list(self.good))
        path = self.folder / f"prompts{ending}"
        path.write_bytes(self._spoiled(random, self.good[ending]))
        lines = read_prompts(path)
        assert all(line.prompt.strip() or line.error for line in lines)
        out = self.folder / "out"
        tasks, refused = plan_tasks(random.sample(lines, min(3, len(lines))), Defaults(), out)
        assert all(line.error for line in refused)
        assert all(Path(task.folder).resolve().parent == out.resolve() for task in tasks)

    def _spoiled(self, random: Random, text: str) -> bytes:
        content = spoiled_text(random, text).encode("utf-8", "surrogatepass")
        return spoiled_bytes(random, content) if random.random() < 0.2 else content


class AppInputs(AbstractTarget):
    """What a visitor's browser may send: orders, names of runs, settings; and what the page makes of their words."""

    refusals = (ValueError, OSError)

    @cached_property
    def runs(self) -> Runs:
        """A server that carries nothing out."""
        runs = Runs(self.folder / "runs", longest=0)
        recipe = load_recipe("toybox").asking("a red mug", 0)
        (runs.folder / "done").mkdir()
        (runs.folder / "done" / "recipe.toml").write_text(recipe.text())
        for name in ("metrics.json", "asset.glb"):
            (runs.folder / "done" / name).write_text("{}")
        return runs

    @cached_property
    def mesh(self) -> bytes:
        """A whole file to refine."""
        write_glb(replace(ball(0.5, 2), texture=torch.ones(4, 4, 3)), self.folder / "mesh.glb")
        return (self.folder / "mesh.glb").read_bytes()

    @cached_property
    def text(self) -> str:
        """A whole recipe, as a visitor may upload it."""
        return load_recipe("toybox").text()

    def attempt(self, random: Random) -> None:
        name = random.choice(("done", spoiled_text(random, "done"), random.choice(TEXTS)))
        deed = random.randrange(6)
        if deed <= 1:
            self._order(random)
        elif deed == 5:
            self._refine(random, name)
        elif deed == 2:
            self._page(random, name)
        elif deed == 3:
            self.runs.export(name, _settings(random, {"export": {"faces": 3, "grid": 8}}))
        else:
            self.runs.convert(name, random.choice(("voxel", spoiled_text(random, "voxel"))),
                              settings=_settings(random, {"shape": {"resolutions": [8]}}))  # fmt: skip

    def _order(self, random: Random) -> None:
        prompt = random.choice(("a red mug", spoiled_text(random, "a striped red mug")))
        upload = random.choice((b"", spoiled_text(random, self.text).encode("utf-8", "surrogatepass")))
        settings = _settings(random, tomllib.loads(self.text)) if random.random() < 0.5 else ()
        other = spoiled_text(random, "toybox") if random.random() < 0.2 else "toybox"
        prior = random.choice(("", "toybox", random.choice(TEXTS)))
        order = Order(prompt, other, upload, prior, random.choice((0, -1, 2**40)), tuple(settings))
        recipe = order.checked(self.runs.priors)
        assert recipe.prior.arguments.get("model") in self.runs.priors
        self.runs.submit(order)

    def _refine(self, random: Random, name: str) -> None:
        """A file or a run, and a recipe that changes it; what is refused leaves no folder."""
        before = set(self.runs.folder.iterdir())
        names = ("mug.glb", "mug.ply", "mug.obj", spoiled_text(random, "mug.stl"), random.choice(TEXTS))
        asset = Upload(random.choice(names), spoiled_glb(random, self.mesh)) if random.random() < 0.7 else None
        if asset is not None and random.random() < 0.5:
            # The queue takes nothing, so what reads the file is asked itself.
            asset.store(self.folder)
        settings = _settings(random, {"source": {"path": "x"}, "converter": {"colors": 1.0}, "shape": {"texture": 8}})
        recipe = random.choice(("toybox-texture", "toybox-mesh", "toybox", spoiled_text(random, "toybox-texture")))
        order = Order("a red mug", recipe, settings=tuple(settings), source=name, refines=True, asset=asset)
        try:
            self.runs.submit(order)
        finally:
            assert set(self.runs.folder.iterdir()) == before

    def _page(self, random: Random, name: str) -> None:
        words = spoiled_text(random, "a red mug")
        shown = markup.live(Snapshot("done", words, random.choice(list(State)), stage=words, note=words, error=words))
        reader = _Tags()
        reader.feed(shown)
        assert reader.tags <= {"section", "h2", "div", "p", "b", "i", "figure", "figcaption", "img"}, reader.tags
        random.choice((self.runs.snapshot, self.runs.stop, self.runs.resume))(name)


TARGETS: Mapping[str, type[AbstractTarget]] = {
    "importers": Importers, "recipes": Recipes, "prompts": Prompts, "app": AppInputs,
}  # fmt: skip


class _Tags(html.parser.HTMLParser):
    """The names of all tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)


def _settings(random: Random, table: dict) -> list[str]:
    """`key=value` lines about options that are there, and some that are not."""
    places = [".".join(place) for place in _paths(table)]
    made = []
    for _ in range(random.randrange(1, 4)):
        value = random_value(random)
        text = json.dumps(value) if random.random() < 0.7 else str(value)
        line = f"{random.choice(places)}={text}"
        made.append(spoiled_text(random, line) if random.random() < 0.3 else line)
    return made


def _paths(table: dict, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in table.items():
        found += [(*above, key), *(_paths(value, (*above, key)) if isinstance(value, dict) else ())]
    return found
