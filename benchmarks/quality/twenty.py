"""Twenty prompts, judged: `python benchmarks/quality/twenty.py [--out outputs/twenty] [--jobs 1]`.

Five of them are pairs of kind and colour that the prior never saw together. Runs that are finished already are kept,
so the command can be stopped and called again. Writes a contact sheet and a table to docs/results/.
"""

import argparse
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median

from runs import RESULTS, cell, contact_sheet, head, judge, make, metrics, row

SEEN = (
    "a red mug", "a brown bear", "a striped orange cat", "a green car", "a yellow duck", "a white snowman",
    "a pink pig", "a blue robot", "a purple teapot", "a red apple", "a spotted red mushroom", "a green tree",
    "a blue chair", "a checkered black cake", "a teal rocket",
)  # fmt: skip
HELD_OUT = ("an orange teapot", "a purple bus", "a teal dog", "a blue barrel", "a pink lamp")
COLUMNS = {
    "kind": "judge_kind", "colour": "judge_color", "Janus": "judge_janus", "mesh PSNR (dB)": "mesh_psnr_median",
    "saturation": "judge_saturation", "IoU": "judge_volume_iou", "Chamfer": "judge_chamfer",
}  # fmt: skip


def folder_of(out: Path, prompt: str) -> Path:
    return out / re.sub(r"[^a-z]+", "-", prompt)


def table(runs: dict[str, dict]) -> str:
    keys = list(COLUMNS.values())
    lines = head("prompt", list(COLUMNS))
    lines += [row(f"{prompt}{' *' if prompt in HELD_OUT else ''}", run, keys) for prompt, run in runs.items()]
    averages = [[v for run in runs.values() if (v := run.get(key)) is not None] for key in keys]
    lines.append("| **mean** | " + " | ".join(cell(mean(v)) for v in averages) + " | |")
    lines.append("| **median** | " + " | ".join(cell(median(v)) for v in averages) + " | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/twenty"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time; times are only fair with one")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    settings = [part for setting in options.set for part in ("--set", setting)]
    folders = {prompt: folder_of(options.out, prompt) for prompt in (*SEEN, *HELD_OUT)}
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda prompt: make(folders[prompt], prompt, settings), folders))
    judge(list(folders.values()))
    RESULTS.mkdir(parents=True, exist_ok=True)
    titles = {prompt + ("  (held out)" if prompt in HELD_OUT else ""): folder for prompt, folder in folders.items()}
    contact_sheet(titles, RESULTS / "twenty.png")
    top = f"# Twenty prompts\n\nMachine: {platform.machine()}, {options.jobs} run(s) at a time, CPU. Command:\n"
    top += "`python benchmarks/quality/twenty.py`. A star marks pairs that the prior never saw together.\n"
    lines = table({prompt: metrics(folder) for prompt, folder in folders.items()})
    (RESULTS / "twenty.md").write_text(f"{top}\n{lines}\n\n![contact sheet](twenty.png)\n", encoding="utf-8")
    print(lines)


if __name__ == "__main__":
    main()
