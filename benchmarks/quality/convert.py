"""Any kind to any kind, measured: `python benchmarks/quality/convert.py [--objects CAPTION ...] [--jobs 1]`.

The truth is a toy of the small world with its own paint. Each kind is first fitted to it (that is a teacher), then each
teacher is converted to each kind. `--headline` adds hash -> MLP against an MLP trained from scratch on pictures, and
PVD-AL against PVD. Everything finished is kept in `--out`, so the command can be stopped and called again; `--report`
writes the tables of what is there, `--sheet` a picture of it. One thread a cell; seconds are the process's own.
"""

import argparse
import json
import multiprocessing
import re
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from convert_settings import KINDS, converter_between, goal
from headline import headline, headline_report
from PIL import Image, ImageDraw
from toy_truth import empty_scene, toy_scene

from dreamkit.convert.fidelity import judging_cameras
from dreamkit.convert.plan import kind as kind_of
from dreamkit.convert.run import Converted, convert
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dreamkit.workers import end_with_parent

OBJECTS = ("a striped orange cat", "a checkered blue house")
TRUTH = "truth"
SHOWN, PIXELS = [0, 3], 96
"Held-out views in a cell's picture, and their height and width."
ABOUT = """Made by `python benchmarks/quality/convert.py --report docs/results/convert-table.md` from the finished
cells; – is a cell that was not run. What it means: [conversions](convert.md)."""
Cell = tuple[str, str, str]
"Caption, from, to."


def path_of(out: Path, cell: Cell) -> Path:
    caption, source, target = cell
    return out / f"{re.sub(r'[^a-z0-9]+', '-', caption)}-{source}-{target}.json"


def scene_of(out: Path, caption: str, name: str) -> Scene:
    """A teacher: the truth, or the kind that was fitted to it."""
    if name == TRUTH:
        return toy_scene(caption)
    like_truth = empty_scene()
    scene = student_scene(like_truth, student_spec(like_truth.shape, kind_of(name), {}).build())
    scene.load_state_dict(load_checkpoint(path_of(out, (caption, TRUTH, name)).with_suffix(".safetensors")).tensors)
    return scene.eval()


def measure(out: Path, cell: Cell) -> None:
    """One conversion: its numbers in a JSON file, a picture and, where it starts at the truth, the scene."""
    caption, source, target = cell
    path = path_of(out, cell)
    if path.exists():
        return
    torch.set_num_threads(1)
    teacher = scene_of(out, caption, source)
    way = converter_between(source if source != TRUTH else "voxel", target, fit=source == TRUTH)
    done, spent = finish(convert(teacher, target, by=way, seed=0 if source == TRUTH else 1))
    (report,) = done.reports
    if source == TRUTH:
        save_checkpoint(path.with_suffix(".safetensors"), Checkpoint(done.scene.state_dict(), {}))
    picture(teacher, done.scene).save(path.with_suffix(".png"), optimize=True)
    size = sum(value.numel() * value.element_size() for value in done.scene.shape.state_dict().values())
    entries = {**report.entries(), "processor_seconds": round(spent, 2), "bytes": size, "by": type(way).__name__}
    path.write_text(json.dumps(entries))


def finish(steps: Generator[Step, None, Converted]) -> tuple[Converted, float]:
    """The result, and the processor seconds up to the last step: the report's renders are not counted."""
    start = last = time.process_time()
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, last - start
        last = time.process_time()


@torch.no_grad()
def picture(teacher: Scene, student: Scene) -> Image.Image:
    """Views of the teacher, then the same views of the student."""
    cameras = judging_cameras(PIXELS)[SHOWN]
    tiles = [view for scene in (teacher, student) for view in scene.render(cameras).color]
    return Image.fromarray((torch.cat(tiles, dim=1).clamp(0, 1) * 255).round().byte().numpy())


def attempt(out: Path, cell: Cell) -> bool:
    """Whether the cell is there now; a failure says why and leaves the others alone."""
    try:
        measure(out, cell)
    except Exception:
        traceback.print_exc()
        print("FAILED", *cell, flush=True)
        return False
    print(*cell, entry(out, cell, "convert_psnr_median"), entry(out, cell, "processor_seconds"), flush=True)
    return True


def entry(out: Path, cell: Cell, name: str) -> float | None:
    path = path_of(out, cell)
    return json.loads(path.read_text())[name] if path.exists() else None


def table(out: Path, caption: str, name: str, digits: int, scale: float = 1.0) -> list[str]:
    """Rows: from; columns: to."""
    lines = [f"| from \\ to | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
    for source in (TRUTH, *KINDS):
        values = [entry(out, (caption, source, target), name) for target in KINDS]
        shown = ["–" if value is None else f"{value * scale:.{digits}f}" for value in values]
        lines.append(f"| {source} | {' | '.join(shown)} |")
    return lines


def report(out: Path, objects: Sequence[str]) -> str:
    parts = ["# Any kind to any kind: the table", "", ABOUT, ""]
    for caption in objects:
        parts += [f"## {caption}", "", "Median PSNR of ten held-out views against the teacher, dB:", ""]
        parts += [*table(out, caption, "convert_psnr_median", 1), "", "Processor seconds:", ""]
        parts += [*table(out, caption, "processor_seconds", 0), "", "Mean absolute opacity error, thousandths:", ""]
        parts += [*table(out, caption, "convert_opacity_error", 1, 1000), ""]
        cells = [(caption, a, b) for a in (TRUTH, *KINDS) for b in KINDS]
        found = {cell: entry(out, cell, "convert_psnr_median") for cell in cells}
        low = [f"{a} to {b} {v:.1f}" for (_, a, b), v in found.items() if v is not None and v < goal(a, b)]
        missing = sum(path_of(out, cell).exists() is False for cell in cells)
        parts += [f"Below the goal: {', '.join(low) or 'none'}. Not run: {missing} of {len(cells)}.", ""]
    sizes = [entry(out, (objects[0], TRUTH, kind), "bytes") for kind in KINDS]
    shown = ", ".join(f"{k} {s / 1e6:.2f}" for k, s in zip(KINDS, sizes, strict=True) if s is not None)
    return "\n".join([*parts, f"Sizes in MB: {shown}.", ""])


def sheet(out: Path, cells: Sequence[Cell]) -> Image.Image:
    """The pictures of some cells under their names, two a row: teacher on the left, student on the right."""
    width, height = 4 * PIXELS + 8, PIXELS + 18
    image = Image.new("RGB", (2 * width, height * ((len(cells) + 1) // 2)), "white")
    for i, cell in enumerate(cells):
        x, y = i % 2 * width, i // 2 * height
        psnr = entry(out, cell, "convert_psnr_median")
        ImageDraw.Draw(image).text((x + 4, y + 3), f"{cell[1]} to {cell[2]}: {psnr:.1f} dB", fill="black")
        image.paste(Image.open(path_of(out, cell).with_suffix(".png")), (x + 4, y + 16))
    return image


def run(out: Path, objects: Sequence[str], jobs: int) -> bool:
    """Every cell that is not there yet, one object after the other; its fits first, because the others start there.

    Then what begins or ends at the first kind, at the second, and so on: an unfinished table shows both directions.
    """
    done, pairs = [], [(a, b) for a in KINDS for b in KINDS]
    pairs.sort(key=lambda pair: min(KINDS.index(kind) for kind in pair))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        for caption in objects:
            done += pool.map(partial(attempt, out), [(caption, TRUTH, kind) for kind in KINDS])
            done += pool.map(partial(attempt, out), [(caption, *pair) for pair in pairs])
    return all(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/convert"))
    parser.add_argument("--objects", nargs="+", default=list(OBJECTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the tables of what is there to this file, and stop")
    parser.add_argument("--sheet", type=Path, help="write a picture of some cells of the first object, and stop")
    parser.add_argument("--headline", type=int, metavar="STEPS", help="measure the claims of PVD and PVD-AL")
    parser.add_argument("--cell", nargs=2, action="append", metavar=("FROM", "TO"), help="only these, of the first")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    first = arguments.objects[0]
    cells = [(first, source, target) for source, target in arguments.cell or ()]
    if arguments.sheet:
        sheet(arguments.out, cells or [(first, TRUTH, kind) for kind in KINDS]).save(arguments.sheet, optimize=True)
    elif arguments.headline:
        headline(arguments.out, first, scene_of(arguments.out, first, "hash"), arguments.headline)
        print(headline_report(arguments.out, first))
    elif arguments.report:
        arguments.report.write_text(report(arguments.out, arguments.objects))
    elif cells:
        done = [attempt(arguments.out, cell) for cell in cells]
        sys.exit(0 if all(done) else 1)
    else:
        whole = run(arguments.out, arguments.objects, arguments.jobs)
        print(report(arguments.out, arguments.objects))
        sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
