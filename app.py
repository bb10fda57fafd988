"""`python app.py`: opens the page. What is on it is in `dreamkit/page`, what runs are in `dreamkit/service`."""

import argparse
from pathlib import Path

import gradio as gr

from dreamkit.device import choose_device
from dreamkit.page.page import Page
from dreamkit.service import markup
from dreamkit.service.runs import Runs
from dreamkit.service.upload import LARGEST_ASSET


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
    try:
        serve(runs, given.host, given.port)
    except OSError as error:
        parser.error(f"cannot listen on {given.host}:{given.port} ({error}). Another: --port {given.port + 1}")


def serve(runs: Runs, host: str, port: int, block: bool = True) -> gr.Blocks:
    """Open the page; returns when it is closed, or at once where it is not to `block`."""
    page = Page(runs).build().queue(default_concurrency_limit=8)
    try:
        page.launch(
            server_name=host, server_port=port, share=False, quiet=not block, footer_links=[], ssr_mode=False,
            max_file_size=LARGEST_ASSET, allowed_paths=[str(runs.folder)], prevent_thread_lock=not block,
            theme=theme(), css=markup.CSS,
        )  # fmt: skip
    finally:
        if block:
            runs.close()
    return page


if __name__ == "__main__":
    main()
