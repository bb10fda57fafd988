"""The tab that writes a finished run's files again: finer or coarser mesh, texture and previews."""

from typing import Any

import gradio as gr

from dreamkit.export.asset import ExportPlan
from dreamkit.page.form import AbstractForm, Starts, problem_place
from dreamkit.page.menu import QUIET
from dreamkit.recipe import load_recipe
from dreamkit.service.past import confined

FIELDS = {
    "faces": "Faces", "texture": "Texture, pixels", "grid": "Grid for the surface", "refine": "Texture rounds",
    "smoothing": "Smoothing", "frames": "Video frames", "size": "Preview, pixels",
}  # fmt: skip


class ExportForm(AbstractForm):
    """A finished run, and the numbers of its export."""

    title = "Export"

    def build(self) -> None:
        self.source = gr.Dropdown([], label="Run", elem_id="exported")
        plan = ExportPlan()
        with gr.Row():
            self.values: list[Any] = [
                gr.Number(
                    getattr(plan, key), label=label, precision=0, minimum=0, min_width=150, elem_id=f"export-{key}"
                )
                for key, label in FIELDS.items()
            ]
        self.values.append(
            gr.Checkbox(plan.usdz, label="USDZ too", info="for AR on phones, and film tools", elem_id="export-usdz")
        )
        gr.Markdown(
            "The same shape, written again: a finer or lighter mesh, a larger texture, more rounds in which the "
            "texture is fitted to the renders. Its files are replaced.",
            elem_classes="dk-about",
        )
        self.go = gr.Button("Export again", variant="primary", elem_id="export")
        self.problem = problem_place()

    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        assert self.source is not None
        self.source.change(self._chosen, self.source, self.values, **QUIET)
        starts([self.go.click], self._begin, [self.source, *self.values], self.problem)

    def _begin(self, name, *values) -> str:
        if not name:
            raise ValueError("choose the run to export again; there must be a finished one")
        *numbers, usdz = values
        pairs = zip(FIELDS, numbers, strict=True)
        wanted = [f"export.{key}={int(value)}" for key, value in pairs if value is not None]
        return self.runs.export(name, [*wanted, f"export.usdz={'true' if usdz else 'false'}"])

    def _chosen(self, name: str | None) -> list[Any]:
        """The numbers that the run was exported with."""
        if not name:
            return [gr.skip()] * len(self.values)
        plan = load_recipe(str(confined(self.runs.folder, name) / "recipe.toml")).export
        return [*(getattr(plan, key) for key in FIELDS), plan.usdz]
