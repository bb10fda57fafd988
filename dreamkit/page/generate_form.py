"""The tab that makes something new out of a sentence."""

import gradio as gr

from dreamkit.page.form import AbstractForm, Starts, problem_place, settings
from dreamkit.page.menu import QUIET
from dreamkit.service.order import Order


class GenerateForm(AbstractForm):
    """Prompt, ideas, recipe, and the few numbers that matter; the rest is behind "Advanced"."""

    title = "Generate"

    def build(self) -> None:
        self.prompt = gr.Textbox(label="Prompt", placeholder="a red mug", lines=2, max_length=500, elem_id="prompt")
        with gr.Row(elem_classes="dk-ideas"):
            self.ideas = gr.Dataset(
                components=[self.prompt], samples=[], show_label=False, label="Try", elem_id="ideas", scale=1
            )  # fmt: skip
            self.more = gr.Button("Others", size="sm", scale=0, min_width=70, elem_id="others")
        self.go = gr.Button("Generate", variant="primary", elem_id="generate")
        self.problem = problem_place()
        self.recipe = gr.Dropdown(self.menu.choices("new"), value="toybox", label="Recipe", filterable=False)
        self.about = gr.Markdown(elem_classes="dk-about")
        with gr.Row(elem_classes="dk-numbers"):
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90, elem_id="seed")
            self.steps = gr.Number(label="Steps", precision=0, minimum=1, min_width=90, elem_id="steps")
            self.scale = gr.Number(label="Prompt strength", min_width=90)
        with gr.Accordion("What this prior knows", open=False, visible=False) as self.known:
            self.words = gr.Markdown(elem_classes="dk-about")
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self.details = self.advanced()

    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        prior = self.details[0]
        told = [self.about, self.known, self.words, self.ideas, self.steps, self.scale]
        gr.on([self.recipe.change, prior.change, page.load], self.menu.about, [self.recipe, prior], told, **QUIET)
        self.more.click(self.menu.ideas, [self.recipe, prior], self.ideas, **QUIET)
        self.ideas.click(lambda row: row[0], self.ideas, self.prompt, **QUIET)
        given = [self.prompt, self.recipe, self.seed, self.steps, self.scale, *self.details]
        starts([self.go.click, self.prompt.submit], self._begin, given, self.problem)

    def _begin(self, prompt, recipe, seed, steps, scale, prior, text, upload) -> str:
        # An uploaded recipe brings its own numbers; those in the fields are of the recipe in the list.
        chosen = settings(text, *((None, None) if upload else (steps, scale)))
        return self.runs.submit(Order(prompt, recipe, upload or b"", prior, int(seed or 0), chosen))
