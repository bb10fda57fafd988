"""Batches that are killed and a server that never rests: is every prompt made once, do memory and files stay bounded?

python benchmarks/robustness/soak.py --minutes 10

Half of the time, `dreamkit batch` makes the same few prompts again and again, killed with `kill -9` at random (the
whole command, or one of its workers) and called again until it is done: each prompt must be there once, with the bytes
of an undisturbed batch. The other half, a server takes orders, stops, goes on, exports and converts at random; its
resident memory and open files are read after each. Exit code 1 where something was lost, doubled, or keeps growing.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import psutil

PROMPTS = ("a red mug", "a blue cat", "a striped green car")
SMALL = (
    "training.steps=6", "training.checkpoint_every=2", "shape.levels.log2_table_size=10", "shape.density_map.scale=20",
    "renderer.samples=16", "export.grid=16", "export.faces=200", "export.texture=32", "export.refine=1",
    "export.frames=0", "export.size=16", "export.level=5.0",
    "training.milestones={starts=[0.0], sizes=[16], views=[1]}",
)  # fmt: skip
GROWTH_MB, GROWTH_FILES = 64, 8
"How much the last quarter of the server's samples may lie above the second (the first still loads and warms up)."


@dataclass
class Findings:
    """What was seen, and what was wrong."""

    rounds: int = 0
    kills: int = 0
    assets: int = 0
    deeds: int = 0
    batch_mb: list[float] = field(default_factory=list)
    "Largest resident size of a batch's processes together, for each round."
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def soak_batch(folder: Path, until: float, random: Random, found: Findings) -> None:
    """Rounds of one batch in fresh folders, killed at random, until the time is over."""
    file = folder / "prompts.txt"
    file.write_text("\n".join(PROMPTS) + "\n")
    expected = _round(folder / "first", file, None, found)
    while time.monotonic() < until and not found.wrong:
        got = _round(folder / "again", file, random, found)
        if got != expected:
            found.wrong.append(f"round {found.rounds}: other bytes or prompts than undisturbed: {got} and {expected}")
        shutil.rmtree(folder / "again")


def _round(out: Path, file: Path, random: Random | None, found: Findings) -> dict[str, str]:
    """One batch to its end; returns the checksum of each prompt's GLB."""
    peak, calls = 0.0, 0
    while True:
        options = [part for setting in SMALL for part in ("--set", setting)]
        command = [sys.executable, "-m", "dreamkit", "batch", str(file), "--out", str(out), "--workers", "1"]
        process = psutil.Popen([*command, "--device", "cpu", *options], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
        # A batch that is killed for ever proves nothing: the seventh call is left alone.
        doomed = random is not None and calls < 6 and random.random() < 0.8
        peak = max(peak, _attend(process, out, random if doomed else None, found))
        calls += 1
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL:
            found.wrong.append(f"round {found.rounds}: the batch ended with {process.returncode}")
            break
    found.rounds += 1
    found.batch_mb.append(round(peak, 1))
    return _made(out, found)


def _attend(process: psutil.Popen, out: Path, random: Random | None, found: Findings) -> float:
    """Wait for a batch, kill it or one worker on the way; returns its largest resident size in MB.

    The moment is counted in files that it has written, so that a slow machine is hit at the same places as a fast one.
    """
    peak, family, written = 0.0, [process], _written(out)
    moment = random.randrange(1, 6) if random else sys.maxsize
    while process.poll() is None:
        family = _family(process) or family
        peak = max(peak, sum(_resident(member) for member in family))
        if len(_written(out) - written) >= moment and random is not None:
            moment = sys.maxsize
            victim = random.choice([process, *family[1:]])
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                found.kills += 1
        time.sleep(0.1)
    # Workers of a killed batch end by themselves.
    _, alive = psutil.wait_procs(family[1:], timeout=60)
    if alive:
        found.wrong.append(f"round {found.rounds}: workers outlived their batch: {[member.pid for member in alive]}")
    return peak


def _written(out: Path) -> set[tuple[str, int]]:
    """Every checkpoint, asset and result, with its time."""
    found = set()
    for path in out.glob("*/*.*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((str(path), path.stat().st_mtime_ns))
    return found


def _made(out: Path, found: Findings) -> dict[str, str]:
    if not (out / "manifest.json").exists():
        return {}  # It has ended in an error, which was noted.
    told = json.loads((out / "manifest.json").read_text())["prompts"]
    names = sorted(entry["prompt"] for entry in told if entry["status"] == "done")
    folders = [path for path in out.iterdir() if (path / "result.json").exists()]
    if names != sorted(PROMPTS) or len(folders) != len(PROMPTS):
        found.wrong.append(f"round {found.rounds}: {names} in {len(folders)} folders, instead of each prompt once")
    strays = [path.name for path in out.rglob("*.partial*")]
    if strays:
        found.wrong.append(f"round {found.rounds}: files left behind: {strays}")
    found.assets += len(folders)
    return {entry["prompt"]: entry.get("files", {}).get("asset.glb", "") for entry in told}


def soak_service(folder: Path, until: float, random: Random, found: Findings) -> None:
    """Orders, stops, continuations, exports and conversions in one server, until the time is over."""
    from dreamkit.service.runs import Runs

    runs = Runs(folder / "served")
    names: list[str] = []
    try:
        for _ in _while(until):
            name = _deed(runs, random, names)
            _settle(runs, name, random)
            state = runs.snapshot(name)
            if state.error:
                found.wrong.append(f"{name}: {state.error}")
            found.deeds += 1
            found.memory_mb.append(round(_resident(psutil.Process()), 1))
            found.files.append(psutil.Process().num_fds())
            # The disk is bounded as well, so old runs go; what they are is forgotten with them.
            for old in names[:-12]:
                names.remove(old)
                shutil.rmtree(runs.folder / old)
    finally:
        runs.close()


def _deed(runs, random: Random, names: list[str]) -> str:
    from dreamkit.service.order import Order

    done = [name for name in names if runs.snapshot(name).state == "done"]
    deed = random.choice(("new", "new", "export", "convert")) if done else "new"
    if deed == "export":
        name = random.choice(done)
        return runs.export(name, [f"export.faces={random.randrange(50, 300)}"])
    if deed == "convert":
        quick = ("shape.resolutions=[16]", "export.grid=16", "export.faces=200", "export.size=16", "export.texture=32")
        name = runs.convert(random.choice(done), "voxel", settings=("converter.steps=3", *quick), by="pvd")
    else:
        name = runs.submit(Order(random.choice(PROMPTS), seed=random.randrange(1000), settings=SMALL))
    names.append(name)
    return name


def _settle(runs, name: str, random: Random) -> None:
    """Wait for a run, as a visitor who looks; sometimes stop it, and go on."""
    doomed, looks = random.random() < 0.3, 0
    while runs.snapshot(name).state.is_live:
        looks += 1
        if doomed and looks == 10:
            runs.stop(name)
        time.sleep(0.05)
    if runs.snapshot(name).state == "stopped" and (runs.folder / name / "recipe.toml").exists():
        if not (runs.folder / name / "metrics.json").exists():
            runs.resume(name)
        while runs.snapshot(name).state.is_live:
            time.sleep(0.05)


def judge(found: Findings) -> None:
    """Growth of the server's memory and files, in medians of quarters; more than the bounds is wrong."""
    for name, values, most in (("MB", found.memory_mb, GROWTH_MB), ("open files", found.files, GROWTH_FILES)):
        if len(values) < 8:
            found.wrong.append(f"only {len(values)} deeds of the server: too few to see growth; give more minutes")
            return
        quarter = len(values) // 4
        growth = median(values[-quarter:]) - median(values[quarter : 2 * quarter])
        if growth > most:
            found.wrong.append(f"the server grew by {growth:.0f} {name} between its second and its last quarter")


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _while(until: float) -> Iterator[None]:
    while time.monotonic() < until:
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--part", choices=("both", "batch", "service"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the numbers (JSON)")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    random, found = Random(given.seed), Findings()
    began, half = time.monotonic(), given.minutes * (30 if given.part == "both" else 60)
    with tempfile.TemporaryDirectory() as folder:
        if given.part != "service":
            soak_batch(Path(folder), time.monotonic() + half, random, found)
        if given.part != "batch":
            soak_service(Path(folder), time.monotonic() + half, random, found)
            judge(found)
    text = json.dumps(vars(found) | {"minutes": round((time.monotonic() - began) / 60, 1)})
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
