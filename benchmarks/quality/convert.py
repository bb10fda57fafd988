"""Any field to any field, measured: `python benchmarks/quality/convert.py [--objects CAPTION ...] [--jobs 1]`.

The truth is a toy of the small world with its own paint. Each kind is first fitted to it (that is a teacher), then each
teacher is converted to each kind. `--headline` adds hash -> MLP against an MLP trained from scratch on pictures, and
PVD-AL against PVD. Everything finished is kept in `--out`, so the command can be stopped and called again; the report
is written from what is there.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from from_scratch import learn_from_pictures
from toy_truth import empty_scene, toy_scene

from dreamkit.convert.base import Conversion
from dreamkit.convert.fidelity import compare, judging_cameras
from dreamkit.convert.plan import kind as kind_of
from dreamkit.convert.pvd import PVD
from dreamkit.convert.pvd_al import PvdAl
from dreamkit.convert.run import convert
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.renderers.scene import Scene
from dreamkit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

KINDS = ("hash", "mlp", "voxel", "vm", "cp", "triplane", "sdf")
OBJECTS = ("a striped orange cat", "a checkered blue house")
TRUTH = "truth"
VIEWS, SCRATCH_SHARE, EVERY = 64, 5, 50
"Of the headline: pictures to learn from, steps from scratch for each step of PVD, and steps between measurements."


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text)


def settings(steps: int) -> PVD:
    return PVD(steps=steps, rays=512)


def scene_of(out: Path, caption: str, name: str) -> Scene:
    """A teacher: the truth, or the kind that was fitted to it."""
    if name == TRUTH:
        return toy_scene(caption)
    like_truth = empty_scene()
    scene = student_scene(like_truth, student_spec(like_truth.shape, kind_of(name), {}).build())
    scene.load_state_dict(load_checkpoint(out / f"{slug(caption)}-{TRUTH}-{name}.safetensors").tensors)
    return scene.eval()


def cell(out: Path, caption: str, source: str, target: str, steps: int) -> None:
    """One conversion: its numbers in a JSON file, and, where it starts at the truth, the scene."""
    path = out / f"{slug(caption)}-{source}-{target}.json"
    if path.exists():
        return
    done = finish(convert(scene_of(out, caption, source), target, by=settings(steps), seed=1 if source != TRUTH else 0))
    report = done.reports[0]
    if source == TRUTH:
        save_checkpoint(path.with_suffix(".safetensors"), Checkpoint(done.scene.state_dict(), {}))
    size = sum(p.numel() * p.element_size() for p in done.scene.shape.parameters())
    path.write_text(json.dumps({**report.entries(), "bytes": size, "steps": steps}))


def finish(steps: Iterator) -> object:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def all_cells(objects: list[str]) -> list[tuple[str, str, str]]:
    """Fits first: the others start from them."""
    fits = [(caption, TRUTH, kind) for caption in objects for kind in KINDS]
    return fits + [(caption, a, b) for caption in objects for a in KINDS for b in KINDS]


def median_of(out: Path, caption: str, source: str, target: str, entry: str) -> float | None:
    path = out / f"{slug(caption)}-{source}-{target}.json"
    return json.loads(path.read_text())[entry] if path.exists() else None


def table(out: Path, caption: str, entry: str, digits: int) -> list[str]:
    """Rows: from; columns: to."""
    lines = [f"| from \\ to | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
    for source in (TRUTH, *KINDS):
        values = [median_of(out, caption, source, target, entry) for target in KINDS]
        lines.append(f"| {source} | {' | '.join('–' if v is None else f'{v:.{digits}f}' for v in values)} |")
    return lines


def report(out: Path, objects: list[str]) -> str:
    parts = []
    for caption in objects:
        parts += [f"### {caption}", "", "Median PSNR of ten held-out views against the teacher, dB:", ""]
        parts += [*table(out, caption, "convert_psnr_median", 1), "", "Seconds (wall clock):", ""]
        parts += [*table(out, caption, "convert_seconds", 0), "", "Mean absolute opacity error:", ""]
        parts += [*table(out, caption, "convert_opacity_error", 4), ""]
    sizes = [median_of(out, objects[0], TRUTH, kind, "bytes") for kind in KINDS]
    shown = ", ".join(f"{k} {s / 1e6:.2f}" for k, s in zip(KINDS, sizes, strict=True) if s is not None)
    return "\n".join([*parts, f"Sizes in MB: {shown}.", ""])


def curve(steps: Conversion, teacher: Scene, student: Scene, every: int) -> list[tuple[float, float]]:
    """(CPU seconds of this process, median PSNR) as the student learns; measuring is not counted."""
    points: list[tuple[float, float]] = []
    spent, since = 0.0, time.process_time()
    for step in steps:
        if step.index % every == 0:
            spent += time.process_time() - since
            points.append((round(spent, 2), compare(teacher, student, judging_cameras(32)).median_psnr))
            print(step.index, *points[-1], flush=True)
            since = time.process_time()
    return points


def headline(out: Path, caption: str, steps: int) -> None:
    """MLP by PVD from a hash teacher, by PVD-AL, and from pictures of the truth alone."""
    teacher = scene_of(out, caption, "hash")
    ways = {"pvd": settings(steps), "pvd-al": PvdAl(steps=steps, rays=512)}
    for name in (*ways, "scratch"):
        path = out / f"{slug(caption)}-headline-{name}.json"
        if path.exists():
            continue
        student = student_scene(teacher, student_spec(teacher.shape, kind_of("mlp"), {}).build(seed=1))
        if name == "scratch":
            run = learn_from_pictures(toy_scene(caption), student, VIEWS, SCRATCH_SHARE * steps, 512, 1)
            points = curve(run, toy_scene(caption), student, EVERY)
        else:
            points = curve(ways[name].convert(teacher, student, 1), toy_scene(caption), student, EVERY)
        path.write_text(json.dumps(points))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/convert"))
    parser.add_argument("--objects", nargs="+", default=list(OBJECTS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--headline", action="store_true")
    parser.add_argument("--cell", nargs=3, help="CAPTION FROM TO: one conversion alone (what the jobs call)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.cell:
        return cell(arguments.out, *arguments.cell, arguments.steps)
    if arguments.headline:
        return headline(arguments.out, arguments.objects[0], arguments.steps)

    def job(which: tuple[str, str, str]) -> None:
        command = [sys.executable, __file__, "--out", str(arguments.out), "--steps", str(arguments.steps)]
        subprocess.run([*command, "--cell", *which], check=True)
        print(*which, flush=True)

    cells = all_cells(arguments.objects)
    fits = len(arguments.objects) * len(KINDS)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(job, cells[:fits]))
        list(pool.map(job, cells[fits:]))
    print(report(arguments.out, arguments.objects))


if __name__ == "__main__":
    main()
