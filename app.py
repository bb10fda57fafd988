"""The Gradio page: reads forms, shows runs. What runs are, and what a visitor may ask for, is in `dreamkit/service`."""

import argparse
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from dreamkit.device import choose_device
from dreamkit.export.asset import ExportPlan
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.recipe_file import names
from dreamkit.service import markup
from dreamkit.service.order import LARGEST_UPLOAD, Order, known_words
from dreamkit.service.past import confined, downloads
from dreamkit.service.run import Snapshot, State
from dreamkit.service.runs import Runs

FILES = {"glb": "GLB", "obj": "OBJ", "ply": "Splats (PLY)", "video": "Video", "recipe": "Recipe"}
"What can be downloaded, and what its button says."
EXPORTS = {
    "faces": "Faces", "texture": "Texture, pixels", "grid": "Grid for the surface", "refine": "Texture rounds",
    "smoothing": "Smoothing", "frames": "Video frames", "size": "Preview, pixels",
}  # fmt: skip
HEAD = '<div class="dk-head"><h1>dreamkit</h1><p>A sentence becomes a 3D asset.</p></div>'
_ADDRESS = """(name) => { if (name) {
  history.replaceState(null, "", "?run=" + encodeURIComponent(name));
  if (window.innerWidth < 640) window.scrollTo({top: 0, behavior: "smooth"}); } }"""
"The address names the run: a reloaded page, or a friend's, finds it again."
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Page:
    """The page of one server; every visitor sees one run at a time, the one that the page's address names."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        # Parsing says which recipes edit, and what each would take; a broken one must show now, not at a visitor's.
        self.recipes = {name: load_recipe(name) for name in names()}

    def build(self) -> gr.Blocks:
        """All of the page; nothing of it comes from another server."""
        with gr.Blocks(title="dreamkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
            gr.HTML(HEAD, padding=False, elem_classes="dk-flush")
            self.name = gr.Textbox(visible=False)
            self.seen = gr.State(())
            self.clock = gr.Timer(1.0, active=False)
            with gr.Row(equal_height=False, elem_classes="dk-house"):
                with gr.Column(scale=5, min_width=300), gr.Tabs():
                    with gr.Tab("Generate"):
                        generate = self._generate_form()
                    with gr.Tab("Edit"):
                        edit = self._edit_form()
                    with gr.Tab("Export"):
                        export = self._export_form()
                with gr.Column(scale=6, min_width=300):
                    self._stage()
            gr.Markdown("### Made here")
            self.gallery = gr.HTML(padding=False, elem_classes="dk-flush", elem_id="gallery")
            self._connect(page, generate, edit, export)
        return page

    def _generate_form(self) -> Callable[[], None]:
        prompt = gr.Textbox(label="Prompt", placeholder="a red mug", lines=2, max_length=500, elem_id="prompt")
        with gr.Row(elem_classes="dk-ideas"):
            ideas = gr.Dataset(components=[prompt], samples=[], show_label=False, label="Try", elem_id="ideas", scale=1)
            more = gr.Button("Others", size="sm", scale=0, min_width=70, elem_id="others")
        go = gr.Button("Generate", variant="primary", elem_id="generate")
        problem = gr.HTML(visible=False, padding=False, elem_classes="dk-flush")
        recipe = gr.Dropdown(self._choices(edits=False), value="toybox", label="Recipe", filterable=False)
        about = gr.Markdown(elem_classes="dk-about")
        with gr.Row(elem_classes="dk-numbers"):
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90, elem_id="seed")
            steps = gr.Number(label="Steps", precision=0, minimum=1, min_width=90, elem_id="steps")
            scale = gr.Number(label="Prompt strength", min_width=90)
        with gr.Accordion("What this prior knows", open=False, visible=False) as known:
            words = gr.Markdown(elem_classes="dk-about")
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            prior, settings, upload = self._advanced()
        given = [prompt, recipe, prior, seed, steps, scale, settings, upload]

        def connect() -> None:
            told = [about, known, words, ideas, steps, scale]
            gr.on([recipe.change, prior.change], self._about, [recipe, prior], told, **_QUIET)
            self.page.load(self._about, [recipe, prior], told, **_QUIET)
            more.click(self._ideas, [recipe, prior], ideas, **_QUIET)
            ideas.click(lambda row: row[0], ideas, prompt, **_QUIET)
            self._starts([go.click, prompt.submit], self._generate, given, problem)

        return connect

    def _edit_form(self) -> Callable[[], None]:
        choices = self._choices(edits=True)
        self.source = gr.Dropdown([], label="What to change", elem_id="source")
        prompt = gr.Textbox(
            label="What it should become", placeholder="a blue mug", lines=2, max_length=500, elem_id="edit-prompt"
        )
        go = gr.Button("Edit", variant="primary", elem_id="edit")
        problem = gr.HTML(visible=False, padding=False, elem_classes="dk-flush")
        recipe = gr.Dropdown(choices, value="toybox-dds", label="Recipe", filterable=False)
        with gr.Row():
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90)
            steps = gr.Number(label="Steps", precision=0, minimum=1, min_width=90, elem_id="edit-steps")
            scale = gr.Number(label="Prompt strength", min_width=90)
        with gr.Accordion("Advanced", open=False, elem_id="edit-advanced"):
            prior, settings, upload = self._advanced()
        given = [self.source, prompt, recipe, prior, seed, steps, scale, settings, upload]

        def connect() -> None:
            gr.on([recipe.change, self.page.load], self._defaults, recipe, [steps, scale], **_QUIET)
            self._starts([go.click, prompt.submit], self._edit, given, problem)

        return connect

    def _export_form(self) -> Callable[[], None]:
        self.exported = gr.Dropdown([], label="Run", elem_id="exported")
        plan = ExportPlan()
        with gr.Row():
            values = [
                gr.Number(
                    getattr(plan, key), label=label, precision=0, minimum=0, min_width=150, elem_id=f"export-{key}"
                )
                for key, label in EXPORTS.items()
            ]
        gr.Markdown("The same shape, written again with other settings. Its files are replaced.")
        go = gr.Button("Export again", variant="primary", elem_id="export")
        problem = gr.HTML(visible=False, padding=False, elem_classes="dk-flush")

        def connect() -> None:
            self.exported.change(self._exported, self.exported, values, **_QUIET)
            self._starts([go.click], self._export, [self.exported, *values], problem)

        return connect

    def _advanced(self) -> tuple[gr.Dropdown, gr.Textbox, gr.File]:
        priors = [("as the recipe says", ""), *((name, name) for name in self.runs.priors)]
        prior = gr.Dropdown(priors, value="", label="Prior", filterable=False)
        hint = "guidance.type=csd\nshape.hidden=64"
        settings = gr.Textbox(
            label="Settings, one key=value a line", placeholder=hint, lines=3, max_length=4000,
            elem_classes="dk-settings",
        )  # fmt: skip
        upload = gr.File(label="A recipe file instead", file_types=[".toml"], type="binary", height=110)
        return prior, settings, upload

    def _stage(self) -> None:
        with gr.Column(elem_classes="dk-stage"):
            self.live = gr.HTML(markup.EMPTY, padding=False, elem_id="live")
            # Not False: a viewer that appears together with its first model would stay empty (gradio 6.31).
            self.model = gr.Model3D(
                visible="hidden", height=420, show_label=False, clear_color=(0, 0, 0, 0), elem_id="model", buttons=[]
            )
        with gr.Row(elem_classes="dk-files"):
            self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id="stop", min_width=90)
            self.go_on = gr.Button("Continue", variant="primary", visible=False, elem_id="continue", min_width=90)
            self.files = [
                gr.DownloadButton(label, visible=False, size="md", min_width=70, elem_id=f"file-{key}")
                for key, label in FILES.items()
            ]

    def _connect(self, page: gr.Blocks, *forms: Callable[[], None]) -> None:
        self.page = page
        self.shown = [self.seen, self.clock, self.live, self.stop, self.go_on, self.model, *self.files]
        self.shown += [self.gallery, self.source, self.exported]
        looking: dict[str, Any] = {"inputs": [self.name, self.seen], "outputs": self.shown, **_QUIET}
        page.load(self._arrive, None, [self.name, *self.shown], **_QUIET)
        self.clock.tick(self._look, concurrency_limit=None, **looking)
        self.stop.click(self._stop, self.name, None, **_QUIET).then(self._look, **looking)
        self.go_on.click(self._continue, self.name, None, **_QUIET).then(self._look, **looking)
        for connect in forms:
            connect()

    def _starts(self, triggers: Sequence[Any], start: Callable[..., Any], given: list[Any], problem: gr.HTML) -> None:
        """A button that begins a run: `start` returns its name; what is wrong with the order is said below it."""

        def begin(*values: Any) -> tuple[Any, Any]:
            try:
                return start(*values), gr.HTML(visible=False)
            except (ValueError, OSError) as error:
                return gr.skip(), gr.HTML(_problem(error), visible=True)

        begun = gr.on(triggers, begin, given, [self.name, problem], **_QUIET)
        looked = begun.then(self._look, [self.name, self.seen], self.shown, **_QUIET)
        looked.then(None, self.name, None, js=_ADDRESS)

    def _generate(self, prompt, recipe, prior, seed, steps, scale, settings, upload) -> str:
        return self.runs.submit(
            Order(prompt, recipe, upload or b"", prior, int(seed or 0), _settings(settings, steps, scale))
        )

    def _edit(self, source, prompt, recipe, prior, seed, steps, scale, settings, upload) -> str:
        if not source:
            raise ValueError("choose the run to change; there must be a finished one")
        chosen = _settings(settings, steps, scale)
        return self.runs.submit(Order(prompt, recipe, upload or b"", prior, int(seed or 0), chosen, source))

    def _export(self, name, *values) -> str:
        if not name:
            raise ValueError("choose the run to export again; there must be a finished one")
        pairs = zip(EXPORTS, values, strict=True)
        return self.runs.export(name, [f"export.{key}={int(value)}" for key, value in pairs if value is not None])

    def _stop(self, name: str) -> None:
        if name:
            self.runs.stop(name)

    def _continue(self, name: str) -> None:
        self.runs.resume(name)

    def _arrive(self, request: gr.Request) -> list[Any]:
        """A page that opens, or opens again: it shows the run that its address names."""
        name = str(request.query_params.get("run", ""))
        return [name, *self._look(name, ())]

    def _look(self, name: str, seen: tuple) -> list[Any]:
        """What changed since the page last looked; `seen` is what it showed then."""
        if not name:
            return [(), gr.skip(), markup.EMPTY, *[gr.skip()] * (3 + len(FILES)), *self._history()]
        try:
            run = self.runs.snapshot(name)
        except (ValueError, OSError) as error:
            return [(), gr.Timer(active=False), _problem(error), *[gr.skip()] * (3 + len(FILES)), *self._history()]
        mark, settled = (run.name, run.version, run.ahead), seen[3:] == (run.name, run.state)
        if mark == seen[:3]:
            return [gr.skip()] * len(self.shown)
        head = [(*mark, run.name, run.state), gr.Timer(active=run.state.is_live), markup.live(run)]
        return head + ([gr.skip()] * (len(self.shown) - 3) if settled else self._turn(run))

    def _turn(self, run: Snapshot) -> list[Any]:
        """Buttons, viewer and files of a run that has just become what it is."""
        done = run.state is State.DONE
        files = downloads(self.runs.folder / run.name) if done else {}
        return [
            gr.Button(visible=run.state.is_live, interactive=run.state is not State.STOPPING),
            gr.Button(visible=run.state in (State.STOPPED, State.FAILED)),
            gr.Model3D(str(files["glb"]) if "glb" in files else None, visible=True if "glb" in files else "hidden"),
            *(gr.DownloadButton(value=files.get(key), visible=key in files) for key in FILES),
            *(self._history() if not run.state.is_live else [gr.skip()] * 3),
        ]

    def _history(self) -> list[Any]:
        past = self.runs.history()
        choices = [(f"{run.prompt}  ({run.name})", run.name) for run in past]
        return [markup.gallery(past), gr.Dropdown(choices), gr.Dropdown(choices)]

    def _about(self, recipe: str, prior: str) -> list[Any]:
        words = known_words(self._model(recipe, prior))
        lists = (words.kinds, words.colors, words.patterns) if words is not None else ()
        told = "\n\n".join(", ".join(entries) for entries in lists)
        known = gr.Accordion(visible=words is not None)
        return [self.recipes[recipe].about, known, told, self._ideas(recipe, prior), *self._defaults(recipe)]

    def _ideas(self, recipe: str, prior: str) -> gr.Dataset:
        words = known_words(self._model(recipe, prior))
        fresh = torch.Generator()
        fresh.seed()
        return gr.Dataset(samples=[[idea] for idea in words.suggest(6, fresh)] if words else [], visible=bool(words))

    def _defaults(self, recipe: str) -> list[Any]:
        scale = self.recipes[recipe].prompt.scale
        return [self.recipes[recipe].training.steps, scale if isinstance(scale, int | float) else None]

    def _exported(self, name: str | None) -> list[Any]:
        if not name:
            return [gr.skip()] * len(EXPORTS)
        plan = load_recipe(str(confined(self.runs.folder, name) / "recipe.toml")).export
        return [getattr(plan, key) for key in EXPORTS]

    def _model(self, recipe: str, prior: str) -> str:
        return prior or str(self.recipes[recipe].prior.arguments.get("model", ""))

    def _choices(self, edits: bool) -> list[tuple[str, str]]:
        """The recipes that make or edit, those whose prior this server has first."""

        def reachable(recipe: Recipe) -> bool:
            return recipe.prior.arguments.get("model") in self.runs.priors

        found = {name: recipe for name, recipe in self.recipes.items() if (recipe.edit is not None) == edits}
        return [(name, name) for name in sorted(found, key=lambda name: (not reachable(found[name]), name))]


def _settings(text: str, steps: float | None, scale: float | None) -> tuple[str, ...]:
    """The form's numbers, then the lines that were written by hand: the last word is theirs."""
    numbers = [f"training.steps={int(steps)}"] if steps is not None else []
    numbers += [f"prompt.scale={scale}"] if scale is not None else []
    return (*numbers, *(line.strip() for line in (text or "").splitlines() if line.strip()))


def _problem(error: Exception) -> str:
    return f'<p class="dk-error" role="alert">{escape(str(error))}</p>'


def theme() -> gr.themes.Base:
    """Quiet greys, one clay accent, and fonts that every system has: nothing is fetched."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    return gr.themes.Base(
        primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="lg"
    ).set(button_primary_background_fill="#c8612c", button_primary_background_fill_hover="#b25322")


def main() -> None:
    """`python app.py`."""
    parser = argparse.ArgumentParser(description="dreamkit's page: text to 3D in a browser.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 opens the page to the whole network")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--out", type=Path, default=Path("outputs/app"), help="folder of the runs")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto")
    parser.add_argument("--prior", action="append", default=[], help="a model to offer beside toybox; may be repeated")
    given = parser.parse_args()
    try:
        runs = Runs(given.out, device=choose_device(given.device), priors=("toybox", *given.prior))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    serve(runs, given.host, given.port)


def serve(runs: Runs, host: str, port: int, block: bool = True) -> gr.Blocks:
    """Open the page; returns when it is closed, or at once where it is not to `block`."""
    page = Page(runs).build().queue(default_concurrency_limit=8)
    try:
        page.launch(
            server_name=host, server_port=port, share=False, quiet=not block, footer_links=[], ssr_mode=False,
            max_file_size=LARGEST_UPLOAD, allowed_paths=[str(runs.folder)], prevent_thread_lock=not block,
            theme=theme(), css=markup.CSS,
        )  # fmt: skip
    finally:
        if block:
            runs.close()
    return page


if __name__ == "__main__":
    main()
