"""PVD's claim and PVD-AL's: an MLP taught by a hash grid, against the same MLP from pictures of the truth."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from from_scratch import learn_from_pictures
from toy_truth import toy_scene

from dreamkit.convert.fidelity import compare, judging_cameras
from dreamkit.convert.plan import kind as kind_of
from dreamkit.convert.pvd import PVD
from dreamkit.convert.pvd_al import PvdAl
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step

VIEWS, SCRATCH_SHARE = 64, 4
"Pictures to learn from, and steps from scratch for each step of PVD."
MOMENTS = 20
"Measurements in a run."


def headline(out: Path, caption: str, teacher: Scene, steps: int) -> None:
    """Curves of an MLP by PVD from a hash teacher, by PVD-AL, and from pictures of the truth alone."""
    truth = toy_scene(caption)
    student = student_spec(teacher.shape, kind_of("mlp"), {})
    for name in ("pvd", "pvd-al", "scratch"):
        path = out / f"headline-{name}-{steps}.json"
        if path.exists():
            continue
        scene, length = student_scene(teacher, student.build(seed=1)), steps
        if name == "scratch":
            length = SCRATCH_SHARE * steps
            run = learn_from_pictures(truth, scene, VIEWS, length, 512, 1)
        else:
            way = PVD(steps=steps, rays=512) if name == "pvd" else PvdAl(steps=steps, rays=512)
            run = way.convert(teacher, scene, 1)
        path.write_text(json.dumps(curve(run, truth, scene, max(length // MOMENTS, 1))))


def curve(steps: Iterator[Step], truth: Scene, student: Scene, every: int) -> list[tuple[int, float, float]]:
    """(step, processor seconds, median PSNR against the truth) as it learns; measuring is not counted."""
    points: list[tuple[int, float, float]] = []
    spent, since = 0.0, time.process_time()
    for step in steps:
        if step.index % every == 0:
            spent += time.process_time() - since
            points.append((step.index, round(spent, 2), compare(truth, student, judging_cameras(32)).median_psnr))
            print(*points[-1], flush=True)
            since = time.process_time()
    return points


def headline_report(out: Path, caption: str) -> str:
    """For each PSNR that PVD reached, when each run got there first."""
    curves = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("headline-*.json"))}
    lines = [f"### {caption}: an MLP against the truth", "", "| run | last | best |", "|---|---|---|"]
    for name, points in curves.items():
        best = max(points, key=lambda point: point[2])
        lines.append(f"| {name} | {_said(points[-1])} | {_said(best)} |")
    lines += ["", f"| dB, processor seconds to get there | {' | '.join(curves)} |", "|---" * (len(curves) + 1) + "|"]
    for level in range(20, 36):
        firsts = [next((f"{p[1]:.1f}" for p in points if p[2] >= level), "–") for points in curves.values()]
        if set(firsts) != {"–"}:
            lines.append(f"| {level} | {' | '.join(firsts)} |")
    return "\n".join(lines)


def _said(point: tuple[int, float, float]) -> str:
    return f"{point[2]:.1f} dB, step {point[0]}, {point[1]:.1f} s"
