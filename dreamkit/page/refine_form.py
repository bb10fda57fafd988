"""The tab that gives a finished run, or a file of another tool, a new texture or a better shape."""

from pathlib import Path
from typing import Any

import gradio as gr

from dreamkit.page.form import AbstractForm, Starts, problem_place, settings
from dreamkit.page.menu import QUIET
from dreamkit.service.order import Order
from dreamkit.service.upload import ENDINGS, Upload

TEXTURE, SHAPE = "texture", "shape"
ABOUT = {
    TEXTURE: "Triangles and texture coordinates stay bit for bit as they are; the texture is new.",
    SHAPE: "It is converted to the recipe's own kind of shape, whose stage goes on with shape and colours.",
}
"What each choice changes."


class RefineForm(AbstractForm):
    """A finished run or an upload, a sentence, and what is to change."""

    title = "Refine"

    def build(self) -> None:
        self.source = gr.Dropdown([], label="What to start from", elem_id="refined")
        self.file = gr.File(
            label="or a file instead: GLB, OBJ, PLY (mesh or splats), STL, OFF", file_types=list(ENDINGS),
            type="filepath", height=170, elem_id="refine-file",
        )  # fmt: skip
        self.prompt = gr.Textbox(
            label="What it shows", placeholder="a striped blue mug", lines=2, max_length=500, elem_id="refine-prompt"
        )
        choices = [("Texture only", TEXTURE), ("Shape too", SHAPE)]
        self.how = gr.Radio(choices, value=TEXTURE, label="What changes", elem_id="refine-how")
        self.about = gr.Markdown(ABOUT[TEXTURE], elem_classes="dk-about")
        self.go = gr.Button("Refine", variant="primary", elem_id="refine")
        self.problem = problem_place()
        self.recipe = gr.Dropdown(
            self.menu.choices(TEXTURE),
            value="toybox-texture",
            label="Recipe",
            filterable=False,
            elem_id="refine-recipe",
        )
        with gr.Row():
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90)
            self.steps = gr.Number(label="Steps", precision=0, minimum=1, min_width=90, elem_id="refine-steps")
            self.scale = gr.Number(label="Prompt strength", min_width=90)
        with gr.Accordion("Advanced", open=False, elem_id="refine-advanced"):
            self.details = self.advanced()

    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        self.how.change(self._chosen, self.how, [self.about, self.recipe], **QUIET)
        gr.on([self.recipe.change, page.load], self.menu.defaults, self.recipe, [self.steps, self.scale], **QUIET)
        given = [self.source, self.file, self.prompt, self.recipe, self.seed, self.steps, self.scale, *self.details]
        starts([self.go.click, self.prompt.submit], self._begin, given, self.problem)

    def _chosen(self, how: str) -> list[Any]:
        """What the choice means, and the recipes that do it."""
        first = "toybox-texture" if how == TEXTURE else "toybox-mesh"
        return [ABOUT[how], gr.Dropdown(self.menu.choices(TEXTURE if how == TEXTURE else "new"), value=first)]

    def _begin(self, source, file, prompt, recipe, seed, steps, scale, prior, text, upload) -> str:
        # Gradio hands over none but files that this visitor has sent.
        asset = None if not file else Upload(Path(file).name, Path(file).read_bytes())
        chosen = settings(text, steps, scale)
        order = Order(prompt, recipe, upload or b"", prior, int(seed or 0), chosen, source or "", True, asset)
        return self.runs.submit(order)
