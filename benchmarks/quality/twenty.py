"""Twenty prompts, judged: `python benchmarks/quality/twenty.py [--out outputs/twenty] [--jobs 1]`.

Five of them are pairs of kind and colour that the prior never saw together. Runs that are finished already are kept,
so the command can be stopped and called again. Writes a contact sheet and a table to docs/results/.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median

import numpy as np
from PIL import Image, ImageDraw

SEEN = (
    "a red mug", "a brown bear", "a striped orange cat", "a green car", "a yellow duck", "a white snowman",
    "a pink pig", "a blue robot", "a purple teapot", "a red apple", "a spotted red mushroom", "a green tree",
    "a blue chair", "a checkered black cake", "a teal rocket",
)  # fmt: skip
HELD_OUT = ("an orange teapot", "a purple bus", "a teal dog", "a blue barrel", "a pink lamp")
RESULTS = Path(__file__).parents[2] / "docs" / "results"
COLUMNS = {
    "kind": "judge_kind", "colour": "judge_color", "Janus": "judge_janus", "mesh PSNR (dB)": "mesh_psnr_median",
    "saturation": "judge_saturation", "IoU": "judge_volume_iou", "Chamfer": "judge_chamfer",
}  # fmt: skip


def folder_of(out: Path, prompt: str) -> Path:
    return out / re.sub(r"[^a-z]+", "-", prompt)


def make(out: Path, prompt: str, options: list[str]) -> None:
    folder = folder_of(out, prompt)
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "dreamkit", "generate", prompt, "--out", str(folder), "--resume", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(prompt, flush=True)


def contact_sheet(out: Path, prompts: list[str], path: Path) -> None:
    """Four views of each asset, ten rows of two."""
    tiles = []
    for prompt in prompts:
        view = Image.open(folder_of(out, prompt) / "preview.png").convert("RGB").resize((512, 128), Image.LANCZOS)
        tile = Image.new("RGB", (520, 146), "white")
        tile.paste(view, (4, 16))
        ImageDraw.Draw(tile).text((8, 2), prompt + ("  (held out)" if prompt in HELD_OUT else ""), fill="black")
        tiles.append(np.asarray(tile))
    rows = [np.concatenate(tiles[i : i + 2], axis=1) for i in range(0, len(tiles), 2)]
    Image.fromarray(np.concatenate(rows)).save(path, optimize=True)


def report(out: Path, prompts: list[str]) -> str:
    runs = {prompt: json.loads((folder_of(out, prompt) / "metrics.json").read_text()) for prompt in prompts}
    lines = [f"| prompt | {' | '.join(COLUMNS)} | seconds |", "|---" * (len(COLUMNS) + 2) + "|"]
    for prompt, run in runs.items():
        cells = [_cell(run.get(key)) for key in COLUMNS.values()] + [f"{sum(run['seconds'].values()):.0f}"]
        lines.append(f"| {prompt}{' *' if prompt in HELD_OUT else ''} | " + " | ".join(cells) + " |")
    averages = [[v for run in runs.values() if (v := run.get(key)) is not None] for key in COLUMNS.values()]
    lines.append("| **mean** | " + " | ".join(_cell(mean(v)) for v in averages) + " | |")
    lines.append("| **median** | " + " | ".join(_cell(median(v)) for v in averages) + " | |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/twenty"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time; times are only fair with one")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    settings = [part for setting in options.set for part in ("--set", setting)]
    prompts = [*SEEN, *HELD_OUT]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda prompt: make(options.out, prompt, settings), prompts))
    folders = [str(folder_of(options.out, prompt)) for prompt in prompts]
    subprocess.run([sys.executable, "-m", "dreamkit", "evaluate", *folders], check=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    contact_sheet(options.out, prompts, RESULTS / "twenty.png")
    head = f"# Twenty prompts\n\nMachine: {platform.machine()}, {options.jobs} run(s) at a time, CPU. Command:\n"
    head += "`python benchmarks/quality/twenty.py`. A star marks pairs that the prior never saw together.\n"
    table = report(options.out, prompts)
    (RESULTS / "twenty.md").write_text(f"{head}\n{table}\n\n![contact sheet](twenty.png)\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
