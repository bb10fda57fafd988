"""What every tab's form is: fields, a button, and a place for what is wrong with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gradio as gr

from dreamkit.page.menu import Menu

Starts = Callable[[Sequence[Any], Callable[..., str], list[Any], gr.HTML], None]
"Connects triggers with a function that begins a run and returns its name, its inputs, and where problems are said."


class AbstractForm(ABC):
    """One tab. `build` is called inside it, `connect` when the whole page is there."""

    title: ClassVar[str]
    source: gr.Dropdown | None = None
    "Where a finished run is chosen, on tabs that start from one; the page keeps its choices up to date."

    def __init__(self, menu: Menu) -> None:
        self.menu, self.runs = menu, menu.runs

    @abstractmethod
    def build(self) -> None:
        """Make the fields."""

    @abstractmethod
    def connect(self, page: gr.Blocks, starts: Starts) -> None:
        """Say what the fields do."""

    def advanced(self) -> list[Any]:
        """Prior, settings and an upload, for recipes that visitors may change."""
        prior = gr.Dropdown(self.menu.priors(), value="", label="Prior", filterable=False)
        settings = settings_field("guidance.type=csd\nshape.hidden=64")
        upload = gr.File(label="A recipe file instead", file_types=[".toml"], type="binary", height=170)
        return [prior, settings, upload]


def settings_field(hint: str) -> gr.Textbox:
    """A field for what the command line takes after `--set`."""
    return gr.Textbox(
        label="Settings, one key=value a line", placeholder=hint, lines=3, max_length=4000, elem_classes="dk-settings"
    )


def problem_place() -> gr.HTML:
    """Where a form says what is wrong; invisible until then."""
    return gr.HTML(visible=False, padding=False, elem_classes="dk-flush")


def lines(text: str | None) -> tuple[str, ...]:
    """The settings that were written by hand."""
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def settings(text: str | None, steps: float | None, scale: float | None) -> tuple[str, ...]:
    """The form's numbers, then the lines that were written by hand: the last word is theirs."""
    numbers = [f"training.steps={int(steps)}"] if steps is not None else []
    numbers += [f"prompt.scale={scale}"] if scale is not None else []
    return (*numbers, *lines(text))
