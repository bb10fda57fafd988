"""One HTML page that compares finished runs: numbers, curves and pictures, in a single file without scripts."""

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import torch

from dreamkit.evaluate.appearance import Appearance, diversity
from dreamkit.export.atomic import write_atomically
from dreamkit.export.png import encode_png

_COLUMNS: dict[str, tuple[str, Callable[[Appearance], float | None]]] = {
    "steps": ("{:.0f}", lambda run: run.steps),
    "seconds": ("{:.0f}", lambda run: run.seconds),
    "faces": ("{:.0f}", lambda run: run.faces),
    "mesh against scene, dB": ("{:.1f}", lambda run: run.psnr),
    "saturation": ("{:.2f}", lambda run: run.saturation),
    "kind": ("{:.2f}", lambda run: run.judged.get("judge_kind")),
    "colour": ("{:.2f}", lambda run: run.judged.get("judge_color")),
    "Janus": ("{:.2f}", lambda run: run.judged.get("judge_janus")),
    "CLIP score": ("{:.1f}", lambda run: run.judged.get("score_clip_score")),
    "R-precision": ("{:.2f}", lambda run: run.judged.get("score_r_precision")),
    "reward": ("{:.2f}", lambda run: run.judged.get("score_reward")),
}
_PALETTE = ("#c8612c", "#3f6f9e", "#4b8b57", "#8a5a9e", "#b08a1e", "#3d8f8f", "#a8486a", "#6b6b6b")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>dreamkit: {count} runs</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.4rem; font-weight: 600; }} h2 {{ font-size: 1.1rem; font-weight: 600; margin-top: 2.2rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #ddd; }}
th {{ font-weight: 600; text-align: left; vertical-align: bottom; }} td {{ min-width: 4ch; overflow-wrap: break-word; }}
td:nth-child(2), td:nth-child(3) {{ min-width: 14ch; max-width: 40ch; }}
.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
td.run {{ font-weight: 600; min-width: 1ch; padding: .3rem 0; }} th {{ white-space: nowrap; }}
.strip, .plots {{ width: 100%; min-width: 40rem; display: block; }} .strip {{ max-width: 64rem; }}
p {{ color: #555; }} b {{ color: #222; }}
</style></head>
<body><h1>{count} runs</h1><p>{summary}</p>
<h2>Numbers</h2><div class="wide"><table>{table}</table></div>
<h2>Plots</h2><div class="wide">{plots}</div>
<h2>Eight views of each</h2><p>The front first, then every 45 degrees counter-clockwise.</p>{strips}
</body></html>
"""


def write_comparison(runs: Sequence[Appearance], path: Path) -> None:
    """Write the page. Raises ValueError where matplotlib (extra `docs`) is missing."""
    spread = diversity(runs)
    summary = "Saturation and diversity are of the exported assets, seen from eight sides."
    if spread is not None:
        summary += f" Diversity between assets of the same prompt: {spread:.3f} (RMS difference of their views)."
    strips = "".join(_strip(number, run) for number, run in enumerate(runs, start=1))
    page = _PAGE.format(
        count=len(runs),
        summary=summary,
        table=_table(runs),
        plots=f'<img class="plots" alt="loss, saturation and time of each run" src="{_plots(runs)}">',
        strips=strips,
    )
    write_atomically(path, page.encode("utf-8", "replace"))


def _color(number: int) -> str:
    """The colour of a run, by its number from 1: in the table, in the plots and above its pictures."""
    return _PALETTE[(number - 1) % len(_PALETTE)]


def _mark(number: int) -> str:
    return f'<span style="color:{_color(number)}">{number}</span>'


def _strip(number: int, run: Appearance) -> str:
    picture = _data(encode_png(torch.cat(list(run.views), dim=1)), "png")
    return (
        f"<p><b>{_mark(number)}</b> {escape(run.prompt)} <small>({escape(run.folder.name)})</small></p>"
        f'<div class="wide"><img class="strip" alt="{escape(run.prompt)}" src="{picture}"></div>'
    )


def _table(runs: Sequence[Appearance]) -> str:
    shown = {name: column for name, column in _COLUMNS.items() if any(column[1](run) is not None for run in runs)}
    heads = "".join(f'<th class="n">{name}</th>' for name in shown)
    rows = [f"<tr><th></th><th>run</th><th>prompt</th>{heads}</tr>"]
    for number, run in enumerate(runs, start=1):
        values = [(form, read(run)) for form, read in shown.values()]
        cells = "".join(f'<td class="n">{"-" if value is None else form.format(value)}</td>' for form, value in values)
        told = f"<td>{escape(run.folder.name)}</td><td>{escape(run.prompt)}</td>"
        rows.append(f'<tr><td class="run">{_mark(number)}</td>{told}{cells}</tr>')
    return "".join(rows)


def _plots(runs: Sequence[Appearance]) -> str:
    """Loss against steps, and saturation and time of each run, as one SVG."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("the report's plots need matplotlib: pip install 'dreamkit[docs]'") from error
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, saturated, time = figure.subplots(1, 3)
    names = [str(number) for number in range(1, len(runs) + 1)]
    colors = [_color(number) for number in range(1, len(runs) + 1)]
    for run, color in zip(runs, colors, strict=True):
        loss.plot(*zip(*run.losses, strict=True) if run.losses else ((), ()), linewidth=1.2, color=color)
    if any(value > 0 for run in runs for _, value in run.losses):
        # Methods weigh their losses by powers of ten; each one's course is what can be compared.
        loss.set_yscale("log")
    saturated.bar(names, [run.saturation for run in runs], color=colors)
    time.bar(names, [run.seconds for run in runs], color=colors)
    for axes, title in ((loss, "loss by step"), (saturated, "saturation by run"), (time, "seconds by run")):
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    picture = io.BytesIO()
    # No date, no random names: the same runs give the same page.
    with rc_context({"svg.hashsalt": "dreamkit"}):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return _data(picture.getvalue(), "svg+xml")


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
