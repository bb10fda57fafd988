"""The whole page: forms on one side, the run that its address names on the other, what was made here below."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from dreamkit.page.convert_form import ConvertForm
from dreamkit.page.edit_form import EditForm
from dreamkit.page.export_form import ExportForm
from dreamkit.page.generate_form import GenerateForm
from dreamkit.page.menu import QUIET, Menu
from dreamkit.page.refine_form import RefineForm
from dreamkit.service import markup
from dreamkit.service.past import finished_files, metrics
from dreamkit.service.run import Snapshot, State
from dreamkit.service.runs import Runs

FILES = {
    "glb": "GLB", "obj": "OBJ", "usdz": "USDZ", "ply": "Splats (PLY)", "splats": "Splats (GLB)", "video": "Video",
    "recipe": "Recipe",
}  # fmt: skip
"What can be downloaded, and what its button says."
HEAD = '<div class="dk-head"><h1>dreamkit</h1><p>A sentence becomes a 3D asset.</p></div>'
_ADDRESS = """(name) => { if (name) {
  history.replaceState(null, "", "?run=" + encodeURIComponent(name));
  if (window.innerWidth < 640) window.scrollTo({top: 0, behavior: "smooth"}); } }"""
"The address names the run: a reloaded page, or a friend's, finds it again."


class Page:
    """The page of one server; every visitor sees one run at a time, the one that the page's address names."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        menu = Menu(runs)
        self.forms = (GenerateForm(menu), EditForm(menu), RefineForm(menu), ConvertForm(menu), ExportForm(menu))

    def build(self) -> gr.Blocks:
        """All of the page; nothing of it comes from another server."""
        with gr.Blocks(title="dreamkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
            gr.HTML(HEAD, padding=False, elem_classes="dk-flush")
            self.name = gr.Textbox(visible=False)
            self.seen = gr.State(())
            self.clock = gr.Timer(1.0, active=False)
            with gr.Row(equal_height=False, elem_classes="dk-house"):
                with gr.Column(scale=5, min_width=300), gr.Tabs():
                    for form in self.forms:
                        with gr.Tab(form.title):
                            form.build()
                with gr.Column(scale=6, min_width=300):
                    self._stage()
            gr.Markdown("### Made here")
            self.gallery = gr.HTML(padding=False, elem_classes="dk-flush", elem_id="gallery")
            self._connect(page)
        return page

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

    def _connect(self, page: gr.Blocks) -> None:
        self.shown = [self.seen, self.clock, self.live, self.stop, self.go_on, self.model, *self.files]
        self.sources = [form.source for form in self.forms if form.source is not None]
        self.shown += [self.gallery, *self.sources]
        looking: dict[str, Any] = {"inputs": [self.name, self.seen], "outputs": self.shown, **QUIET}
        page.load(self._arrive, None, [self.name, *self.shown], **QUIET)
        self.clock.tick(self._look, concurrency_limit=None, **looking)
        self.stop.click(self._stop, self.name, None, **QUIET).then(self._look, **looking)
        self.go_on.click(self.runs.resume, self.name, self.name, **QUIET).then(self._look, **looking)
        for form in self.forms:
            form.connect(page, self._starts)

    def _starts(self, triggers: Sequence[Any], start: Callable[..., str], given: list[Any], problem: gr.HTML) -> None:
        """A button that begins a run: `start` returns its name; what is wrong with the order is said below it."""

        def begin(*values: Any) -> tuple[Any, Any]:
            try:
                return start(*values), gr.HTML(visible=False)
            except (ValueError, OSError) as error:
                return gr.skip(), gr.HTML(_problem(error), visible=True)

        begun = gr.on(triggers, begin, given, [self.name, problem], **QUIET)
        looked = begun.then(self._look, [self.name, self.seen], self.shown, **QUIET)
        looked.then(None, self.name, None, js=_ADDRESS)

    def _stop(self, name: str) -> None:
        if name:
            self.runs.stop(name)

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
        told = markup.live(run, metrics(self.runs.folder / run.name) if run.state is State.DONE else {})
        head = [(*mark, run.name, run.state), gr.Timer(active=run.state.is_live), told]
        return head + ([gr.skip()] * (len(self.shown) - 3) if settled else self._turn(run))

    def _turn(self, run: Snapshot) -> list[Any]:
        """Buttons, viewer and files of a run that has just become what it is."""
        # A later export that failed takes nothing away from a run that was finished before.
        files = {} if run.state.is_live else finished_files(self.runs.folder / run.name)
        return [
            gr.Button(visible=run.state.is_live, interactive=run.state is not State.STOPPING),
            gr.Button(visible=run.state in (State.STOPPED, State.FAILED)),
            gr.Model3D(str(files["glb"]) if "glb" in files else None, visible=True if "glb" in files else "hidden"),
            *(gr.DownloadButton(value=files.get(key), visible=key in files) for key in FILES),
            *(self._history() if not run.state.is_live else [gr.skip()] * (1 + len(self.sources))),
        ]

    def _history(self) -> list[Any]:
        past = self.runs.history()
        choices = [(f"{run.title}  ({run.name})", run.name) for run in past]
        return [markup.gallery(past), *(gr.Dropdown(choices) for _ in self.sources)]


def _problem(error: Exception) -> str:
    return f'<p class="dk-error" role="alert">{escape(str(error))}</p>'
