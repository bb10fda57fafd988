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
th {{ font-weight: 600; text-align: left; }} td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
td {{ overflow-wrap: anywhere; }} .strip {{ width: 100%; max-width: 64rem; display: block; }} img {{ max-width: 100%; }}
p {{ color: #555; }}
</style></head>
<body><h1>{count} runs</h1><p>{summary}</p>
<h2>Numbers</h2><div class="wide"><table>{table}</table></div>
<h2>Plots</h2><p>{plots}</p>
<h2>Eight views of each</h2>{strips}
</body></html>
"""


def write_comparison(runs: Sequence[Appearance], path: Path) -> None:
    """Write the page. Raises ValueError where matplotlib (extra `docs`) is missing."""
    spread = diversity(runs)
    summary = "Saturation and diversity are of the exported assets, seen from eight sides."
    if spread is not None:
        summary += f" Diversity between assets of the same prompt: {spread:.3f} (RMS difference of their views)."
    strips = "".join(_strip(run) for run in runs)
    page = _PAGE.format(
        count=len(runs),
        summary=summary,
        table=_table(runs),
        plots=f'<img alt="plots" src="{_plots(runs)}">',
        strips=strips,
    )
    write_atomically(path, page.encode("utf-8", "replace"))


def _strip(run: Appearance) -> str:
    picture = _data(encode_png(torch.cat(list(run.views), dim=1)), "png")
    return (
        f"<p>{escape(run.prompt)} <small>({escape(run.folder.name)})</small></p>"
        f'<img class="strip" alt="{escape(run.prompt)}" src="{picture}">'
    )


def _table(runs: Sequence[Appearance]) -> str:
    shown = {name: column for name, column in _COLUMNS.items() if any(column[1](run) is not None for run in runs)}
    rows = ["<tr><th>run</th><th>prompt</th>" + "".join(f"<th>{name}</th>" for name in shown) + "</tr>"]
    for run in runs:
        values = [(form, read(run)) for form, read in shown.values()]
        cells = "".join(f'<td class="n">{"-" if value is None else form.format(value)}</td>' for form, value in values)
        rows.append(f"<tr><td>{escape(run.folder.name)}</td><td>{escape(run.prompt)}</td>{cells}</tr>")
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
    for run in runs:
        loss.plot(*zip(*run.losses, strict=True) if run.losses else ((), ()), linewidth=1)
    names = [str(number) for number in range(1, len(runs) + 1)]
    saturated.bar(names, [run.saturation for run in runs], color="#5b7fa6")
    time.bar(names, [run.seconds for run in runs], color="#8a8a8a")
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
