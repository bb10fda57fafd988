"""The tab that changes a finished run by another sentence."""

import gradio as gr

from dreamkit.page.form import AbstractForm, Starts, problem_place, settings
from dreamkit.page.menu import QUIET
from dreamkit.service.order import Order


class EditForm(AbstractForm):
    """A finished run, what it should become, and a recipe that edits."""

    title = "Edit"

    def build(self) -> None:
        self.source = gr.Dropdown([], label="What to change", elem_id="source")
        self.prompt = gr.Textbox(
            label="What it should become", placeholder="a blue mug", lines=2, max_length=500, elem_id="edit-prompt"
        )
        self.go = gr.Button("Edit", variant="primary", elem_id="edit")
        self.problem = problem_place()
        choices = self.menu.choices("edit")
        self.recipe = gr.Dropdown(choices, value="toybox-dds", label="Recipe", filterable=False)
        with gr.Row():
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90)
            self.steps = gr.Number(label="Steps", precision=0, minimum=1, min_width=90, elem_id="edit-steps")
            self.scale = gr.Number(label="Prompt strength", min_width=90)
        with gr.Accordion("Advanced", open=False, elem_id="edit-advanced"):
            self.details = self.advanced()

    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        gr.on([self.recipe.change, page.load], self.menu.defaults, self.recipe, [self.steps, self.scale], **QUIET)
        given = [self.source, self.prompt, self.recipe, self.seed, self.steps, self.scale, *self.details]
        starts([self.go.click, self.prompt.submit], self._begin, given, self.problem)

    def _begin(self, source, prompt, recipe, seed, steps, scale, prior, text, upload) -> str:
        if not source:
            raise ValueError("choose the run to change; there must be a finished one")
        # An uploaded recipe brings its own numbers; those in the fields are of the recipe in the list.
        chosen = settings(text, *((None, None) if upload else (steps, scale)))
        return self.runs.submit(Order(prompt, recipe, upload or b"", prior, int(seed or 0), chosen, source))
