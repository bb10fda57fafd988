"""The page's own HTML: a run while it works, and the gallery. Everything that comes from people is escaped."""

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamkit.service.past import PastRun
from dreamkit.service.pictures import thumbnail
from dreamkit.service.run import Snapshot, State

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")

EMPTY = (
    '<div class="dk-empty"><div class="dk-cube" aria-hidden="true"></div><p>Type a sentence, or pick a suggestion.</p>'
    "<p>Here you will watch it take shape, and turn it in your hands when it is done.</p></div>"
)
"What stands where a run will be."

_WORDS = {
    State.WAITING: "Waiting", State.RUNNING: "Working", State.STOPPING: "Stopping after this step",
    State.STOPPED: "Stopped", State.FAILED: "This did not work", State.DONE: "Done",
}  # fmt: skip
_STAGES = {
    "optimise": "optimising", "export": "making the mesh", "load the prior": "loading the prior",
    "convert": "converting", "coarse": "coarse stage",
}  # fmt: skip


def live(run: Snapshot, metrics: Mapping[str, Any] | None = None) -> str:
    """A run as it stands: title, what it is doing, progress, pictures, loss curve; what was kept by a conversion."""
    parts = [f'<section class="dk-live dk-{run.state}" data-run="{escape(run.name)}" data-state="{run.state}">']
    parts.append(f"<h2>{escape(run.title)}</h2>")
    parts.append(f'<div class="dk-status" role="status"><b>{_WORDS[run.state]}</b> {escape(_detail(run))}</div>')
    if run.state.is_live:
        parts.append(_bar(run))
    if run.error:
        parts.append(f'<p class="dk-error" role="alert">{escape(run.error)}</p>')
    if run.pictures and run.state is not State.DONE:
        tiles = "".join(_tile(picture.name, picture.png) for picture in run.pictures)
        parts.append(f'<div class="dk-tiles">{tiles}</div>')
    parts.append(loss_curve(run.losses))
    parts.append(kept(metrics or {}))
    return "".join([*parts, "</section>"])


def gallery(runs: Sequence[PastRun], most: int = 48) -> str:
    """The newest runs as cards; each is a link that opens the run."""
    if not runs:
        return '<div class="dk-none">Nothing yet. What you make will be kept here.</div>'
    return f'<div class="dk-gallery">{"".join(_card(run) for run in runs[:most])}</div>'


def loss_curve(losses: Sequence[float], points: int = 160) -> str:
    """The loss over the steps on a logarithmic axis, means of equal stretches; nothing for fewer than two."""
    means = _means([loss for loss in losses if math.isfinite(loss) and loss > 0], points)
    if len(means) < 2:
        return ""
    logs = [math.log10(value) for value in means]
    low, high = min(logs), max(logs)
    span = (high - low) or 1.0
    line = " ".join(
        f"{300 * i / (len(logs) - 1):.1f},{52 - 48 * (value - low) / span:.1f}" for i, value in enumerate(logs)
    )
    return (
        f'<figure class="dk-curve"><figcaption><span>loss</span><span>{means[-1]:.3g}</span></figcaption>'
        f'<svg viewBox="0 0 300 56" preserveAspectRatio="none" role="img" aria-label="loss curve, {len(losses)} steps">'
        f'<polyline points="{line}" vector-effect="non-scaling-stroke"/></svg></figure>'
    )


def kept(metrics: Mapping[str, Any]) -> str:
    """What a conversion kept of the picture, out of its `metrics.json`; nothing for a run that is no conversion."""
    views, route = metrics.get("convert_psnr"), metrics.get("route")
    if not isinstance(views, list) or not isinstance(route, list):
        return ""
    way = " → ".join(str(step).replace("_", " ") for step in route)
    numbers = [(label, _told(metrics.get(key), form)) for label, key, form in _KEPT]
    rows = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in numbers)
    return (
        f'<figure class="dk-kept"><figcaption><span>what was kept</span><span>{escape(way)}</span></figcaption>'
        f"<dl>{rows}</dl>{_view_bars(views)}</figure>"
    )


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h 5 min`: as exact as a person wants to know."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


_KEPT = (
    ("median PSNR", "convert_psnr_median", "{:.1f} dB"),
    ("opacity error", "convert_opacity_error", "{:.3f}"),
    ("depth error", "convert_depth_error", "{:.3f}"),
    ("mesh against scene", "mesh_psnr_median", "{:.1f} dB"),
)


def _told(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "–"


def _view_bars(views: Sequence[Any], full: float = 60.0) -> str:
    """One bar for each held-out view: PSNR from 0 to `full` dB; a view that JSON cannot say lost nothing."""
    bars = []
    for number, value in enumerate(views, start=1):
        share = min(max(float(value) / full, 0.0), 1.0) if isinstance(value, int | float) else 1.0
        told = _told(value, "{:.1f} dB")
        bars.append(f'<i style="height:{share:.0%}" title="view {number}: {told}"></i>')
    return f'<div class="dk-views" role="img" aria-label="PSNR of {len(views)} views">{"".join(bars)}</div>'


def _detail(run: Snapshot) -> str:
    if run.state is State.WAITING:
        return (
            "your turn is next" if not run.ahead else f"{run.ahead} {'run' if run.ahead == 1 else 'runs'} before yours"
        )
    if run.state is State.STOPPED:
        return (
            "Continue begins it again." if run.begins_again else "What was saved is kept; Continue goes on from there."
        )
    if run.state is State.DONE:
        return "Drag to turn it, scroll to come closer."
    if run.state is not State.RUNNING:
        return ""
    words = [_STAGES.get(run.stage, run.stage)]
    if run.stage in ("coarse", "optimise"):
        words.append(f"step {run.index} of {run.total}")
    if run.seconds_left is not None:
        after = "the fine stage" if run.stage == "coarse" else "the mesh"
        words.append(f"about {duration(run.seconds_left)} left, then {after}")
    return " · ".join([*words, run.note] if run.note else words)


def _bar(run: Snapshot) -> str:
    share = run.index / run.total if run.total else 0.0
    return (
        f'<div class="dk-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0%}">'
        f'<i style="width:{share:.1%}"></i></div>'
    )


def _tile(name: str, png: bytes) -> str:
    return f'<figure><img alt="{name}" src="{_data(png, "png")}"><figcaption>{name}</figcaption></figure>'


def _card(run: PastRun) -> str:
    try:
        picture = _thumbnail(run.preview, run.preview.stat().st_mtime_ns)
        image = f'<img alt="" src="{_data(picture, "webp")}">'
    except OSError:
        image = '<span class="dk-blank">no preview</span>'
    return (
        f'<a class="dk-card" href="?run={quote(run.name)}">{image}<strong>{escape(run.title)}</strong>'
        f"<small>{escape(run.method)} · seed {run.seed} · {run.steps} steps</small></a>"
    )


@lru_cache(maxsize=256)
def _thumbnail(path: Path, changed: int) -> bytes:
    """`changed`, the file's time, makes a new picture of a file that was written again."""
    return thumbnail(path)


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _means(values: Sequence[float], points: int) -> list[float]:
    if len(values) <= points:
        return list(values)
    cuts = [round(i * len(values) / points) for i in range(points + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
