"""A batch against a shell loop, and against kill -9: `python benchmarks/scaling/batch.py whole|killed|loop|report`.

`whole` runs `dreamkit batch` undisturbed; `killed` runs the same batch and kills it three times at random, then lets it
end; `loop` runs `dreamkit generate` once for each of the first prompts, as a shell would, and goes on where it was
stopped; `report` compares the three and prints the table of docs/results/batch.md. Few steps and a coarse export: what
is measured is the batch, not the distillation.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "prompts" / "toybox.txt"
SETTINGS = [
    "training.checkpoint_every=5", "shape.levels.log2_table_size=12", "shape.density_map.scale=20",
    "renderer.samples=16", "export.grid=24", "export.faces=500", "export.texture=64", "export.refine=3",
    "export.frames=0", "export.size=32",
]  # fmt: skip
OPTIONS = ["--steps", "20", "--device", "cpu", *[part for setting in SETTINGS for part in ("--set", setting)]]
KILLS = 3
PYTHON = [sys.executable, "-m", "dreamkit"]


def quiet(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def batch(out: Path, workers: int) -> list[str]:
    return [*PYTHON, "batch", str(PROMPTS), "--out", str(out), "--workers", str(workers), *OPTIONS]


def whole(out: Path, workers: int) -> dict:
    """Wall clock and processor seconds of an undisturbed batch."""
    assert not (out / "whole").exists(), f"{out / 'whole'} is there: a batch that goes on would be timed too short"
    return spent(batch(out / "whole", workers))


def killed(out: Path, workers: int, seed: int = 0) -> dict:
    """Kill the batch while it is between random numbers of finished prompts; a worker dies as well, now and then."""
    draw = random.Random(seed)
    prompts = len(prompts_of())
    marks = sorted(draw.sample(range(2, prompts - 2), KILLS))
    exits, deaths = [], []
    for mark in marks:
        process = quiet(batch(out / "killed", workers))
        while finished(out / "killed") < mark and process.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 3))
        deaths.append(finished(out / "killed"))
        process.kill()
        exits.append(process.wait())
    assert exits == [-signal.SIGKILL] * KILLS, exits
    last = quiet(batch(out / "killed", workers)).wait()
    again = subprocess.run(batch(out / "killed", workers), capture_output=True, text=True, check=False)
    return {"deaths": deaths, "last": last, "again": again.returncode, "said": "nothing to do" in again.stderr}


def loop(out: Path, count: int) -> dict:
    """`dreamkit generate` for each of the first prompts, one after the other and one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    entries = [alone(out / "loop" / str(index), prompt) for index, prompt in enumerate(prompts_of()[:count])]
    sums = {name: sum(entry[name] for entry in entries) for name in ("seconds", "processor")}
    return sums | {"load": max(entry["load"] for entry in entries), "count": count}


def alone(folder: Path, prompt: str) -> dict:
    """What one prompt costs; measured once, and again where that was cut short."""
    told = folder.with_suffix(".json")
    if not told.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        told.write_text(json.dumps(spent([*PYTHON, "generate", prompt, "--out", str(folder), *OPTIONS])))
    return json.loads(told.read_text())


def spent(command: list[str]) -> dict:
    """Wall clock and processor seconds of a command that must succeed."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    assert quiet(command).wait() == 0, command
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.monotonic() - began, "processor": processor, "load": os.getloadavg()[1]}


def prompts_of() -> list[str]:
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def finished(out: Path) -> int:
    return len(list(out.glob("*/result.json")))


def checksums(out: Path) -> dict[str, dict[str, str]]:
    """Prompt to checksums, read from the files themselves and not from what the batch says of them."""
    found: dict[str, dict[str, str]] = {}
    for entry in json.loads((out / "manifest.json").read_text())["prompts"]:
        assert entry["status"] == "done", entry
        assert entry["prompt"] not in found, "a prompt was made twice"
        folder = out / entry["folder"]
        found[entry["prompt"]] = {name: digest(folder / name) for name in entry["files"]}
    folders = [path for path in out.iterdir() if path.is_dir()]
    assert len(folders) == len(found) == len(prompts_of()), (len(folders), len(found))
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(out: Path) -> str:
    """The table of docs/results/batch.md; raises where bytes differ."""
    told = {name: json.loads((out / f"{name}.json").read_text()) for name in ("whole", "killed", "loop")}
    one, two = checksums(out / "whole"), checksums(out / "killed")
    assert one == two, [prompt for prompt in one if one[prompt] != two[prompt]]
    count = told["loop"]["count"]
    for index, prompt in enumerate(prompts_of()[:count]):
        assert all(digest(out / "loop" / str(index) / name) == value for name, value in one[prompt].items()), prompt
    entries = json.loads((out / "whole" / "manifest.json").read_text())["prompts"]
    loads = [entry["numbers"]["prior_seconds"] for entry in entries]
    files = sum(len(files) for files in one.values())
    rows = [
        ("prompts", len(one), count),
        ("wall clock for each prompt, s", *each(told, "seconds", len(one), count)),
        ("processor time for each prompt, s", *each(told, "processor", len(one), count)),
        ("times that a prior was loaded", sum(load > 0 for load in loads), count),
        ("load of the machine meanwhile", f"{told['whole']['load']:.1f}", f"{told['loop']['load']:.1f}"),
    ]
    lines = ["| | `dreamkit batch` | shell loop over `generate` |", "|---|---|---|"]
    lines += [f"| {name} | {mine} | {theirs} |" for name, mine, theirs in rows]
    return "\n".join([*lines, "", *said_of_kills(told["killed"], len(one), files, count)])


def said_of_kills(told: dict, prompts: int, files: int, count: int) -> list[str]:
    deaths = ", ".join(map(str, told["deaths"]))
    return [
        f"Killed with `kill -9` when {deaths} of {prompts} prompts were done, and begun again each time: every",
        f"prompt is there exactly once, and all {files} files have the bytes of the undisturbed batch (SHA-256).",
        f"The last call ended with exit code {told['last']}; one more said that there was nothing to do:",
        f"{'yes' if told['said'] else 'NO'}. The {count} assets of the shell loop have the same bytes as well.",
    ]


def each(told: dict, what: str, mine: int, theirs: int) -> tuple[str, str]:
    return f"{told['whole'][what] / mine:.1f}", f"{told['loop'][what] / theirs:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["whole", "killed", "loop", "report"])
    parser.add_argument("--out", type=Path, default=Path("outputs/batch"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=6, help="prompts of the shell loop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part == "report":
        print(report(options.out))
        return
    part = {"whole": whole, "killed": killed, "loop": loop}[options.part]
    told = part(options.out, options.count if part is loop else options.workers)
    (options.out / f"{options.part}.json").write_text(json.dumps(told))
    print(told)


if __name__ == "__main__":
    main()
