"""The contact sheet of a batch: one HTML page without scripts, to be opened from the folder."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from dreamkit.batch.prompt_file import PromptLine
from dreamkit.batch.result import Result
from dreamkit.batch.task import Task
from dreamkit.export.atomic import write_atomically

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; media-src 'self' file:; \
style-src 'unsafe-inline'">
<title>dreamkit: {title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8883; --faint: #888; --bad: #c33; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; font-weight: 600; margin: 0 0 .2rem; overflow-wrap: anywhere; }}
header p {{ color: var(--faint); margin: 0 0 1.6rem; }}
main {{ display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }}
article {{ border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }}
article img {{ display: block; width: 100%; background: #8881; }}
article div {{ padding: .6rem .9rem .8rem; }}
h2 {{ font-size: 1rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; max-height: 6em; overflow-y: auto; }}
p {{ margin: .2rem 0 0; }}
small {{ color: var(--faint); }}
.failed {{ border-color: var(--bad); }}
.failed p {{ color: var(--bad); overflow-wrap: anywhere; max-height: 9em; overflow-y: auto; }}
a {{ margin-right: .8em; }}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{summary}</p></header>
<main>
{cards}
</main>
</body>
</html>
"""
_LINKS = {
    "asset.glb": "GLB",
    "asset.obj": "OBJ",
    "asset.usdz": "USDZ",
    "turntable.mp4": "turntable",
    "recipe.toml": "recipe",
}


def write_contact_sheet(
    out: Path, tasks: Sequence[Task], results: Mapping[str, Result], refused: Sequence[PromptLine]
) -> None:
    """Write `index.html`: a card for each prompt, in the order of the file. All that people wrote is escaped."""
    cards = [(task.lines[0], _card(task, results.get(task.key))) for task in tasks]
    cards += [(line.number, _failed(line.prompt, f"line {line.number}: {line.error}")) for line in refused]
    done = sum(result.status == "done" for result in results.values())
    failed = sum(result.status == "failed" for result in results.values()) + len(refused)
    waiting = len(tasks) + len(refused) - done - failed
    counts = [f"{done} done"] + [f"{n} {what}" for n, what in ((failed, "failed"), (waiting, "waiting")) if n]
    page = _PAGE.format(
        title=escape(out.resolve().name), summary=", ".join(counts), cards="\n".join(card for _, card in sorted(cards))
    )
    # Half a surrogate pair is no UTF-8; a browser would show the same character for it.
    write_atomically(out / "index.html", page.encode("utf-8", "replace"))


def _card(task: Task, result: Result | None) -> str:
    if result is None:
        return f"<article><div><h2>{escape(task.prompt)}</h2><p><small>waiting</small></p></div></article>"
    if result.status != "done":
        return _failed(task.prompt, result.error)
    folder = quote(Path(task.folder).name)
    there = [name for name in _LINKS if name in result.files or name == "recipe.toml"]
    links = "".join(f'<a href="{folder}/{name}">{_LINKS[name]}</a>' for name in there)
    facts = f"seed {task.seed}, {result.seconds:.0f} s, {result.numbers['faces']:.0f} faces"
    return (
        f'<article><img src="{folder}/preview.png" alt="{escape(task.prompt)}: four sides" loading="lazy">'
        f"<div><h2>{escape(task.prompt)}</h2><p><small>{facts}</small></p><p>{links}</p></div></article>"
    )


def _failed(prompt: str, reason: str) -> str:
    return f'<article class="failed"><div><h2>{escape(prompt)}</h2><p>{escape(reason)}</p></div></article>'
