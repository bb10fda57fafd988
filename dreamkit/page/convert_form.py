"""The tab that carries a finished run's scene to another kind of shape."""

from typing import Any

import gradio as gr

from dreamkit.construct import options, type_name
from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.plan import NoRoute, find_route, kind, kinds
from dreamkit.page.form import AbstractForm, Starts, lines, problem_place, settings_field
from dreamkit.page.menu import QUIET
from dreamkit.recipe import load_recipe
from dreamkit.service.past import confined

LABELS = {
    "hash_field": "Hash grid", "mlp_field": "MLP (NeRF)", "voxel_field": "Voxel grid", "latent_field": "Latent field",
    "vm_field": "Low-rank tensors (VM)", "cp_field": "Low-rank tensors (CP)", "triplane_field": "Triplane",
    "sdf_field": "Signed distances", "gaussians": "3D Gaussians", "tet_mesh": "Mesh (DMTet)",
    "flexi_mesh": "Mesh (FlexiCubes)", "textured_mesh": "Mesh with a texture",
}  # fmt: skip
"What a kind of shape is called; kinds that are not named go by their recipe name."


class ConvertForm(AbstractForm):
    """A finished run and the kind of shape that it should become."""

    title = "Convert"

    def build(self) -> None:
        self.source = gr.Dropdown([], label="Run", elem_id="converted")
        choices = [(LABELS.get(name, name), name) for name in kinds()]
        self.kind = gr.Dropdown(choices, value="gaussians", label="Becomes", filterable=False, elem_id="kind")
        self.way = gr.Markdown(elem_classes="dk-about", elem_id="way")
        self.go = gr.Button("Convert", variant="primary", elem_id="convert")
        self.problem = problem_place()
        gr.Markdown(
            "A new run beside the old one. It says how much of the picture was kept, from ten views that the "
            "conversion never saw.",
            elem_classes="dk-about",
        )
        with gr.Accordion("Advanced", open=False, elem_id="convert-advanced"):
            ways = [("whichever suits", ""), *((name, name) for name in options(AbstractConverter))]
            self.by = gr.Dropdown(ways, value="", label="Converter", filterable=False, elem_id="by")
            self.text = settings_field("shape.count=5000\nexport.faces=5000")

    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        assert self.source is not None
        gr.on([self.source.change, self.kind.change], self._way, [self.source, self.kind], self.way, **QUIET)
        starts([self.go.click], self._begin, [self.source, self.kind, self.by, self.text], self.problem)

    def _begin(self, name, target, by, text) -> str:
        if not name:
            raise ValueError("choose the run to convert; there must be a finished one")
        return self.runs.convert(name, target, lines(text), by or None)

    def _way(self, name: str | None, target: str) -> Any:
        """Which steps lead there."""
        if not name:
            return ""
        start = load_recipe(str(confined(self.runs.folder, name) / "recipe.toml")).shape.cls
        try:
            route = find_route(start, kind(target))
        except NoRoute as error:
            return str(error)
        named = [type_name(start), *(type_name(hop.target) for hop in route)]
        return " → ".join(LABELS.get(step, step) for step in named)
