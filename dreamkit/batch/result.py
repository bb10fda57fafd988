"""What became of each task: a result in the task's own folder, written last, and a manifest of the whole batch."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dreamkit.batch.prompt_file import PromptLine
from dreamkit.batch.task import Task
from dreamkit.export.atomic import write_atomically

FILE = "result.json"
ASSETS = ("asset.glb", "asset.obj", "asset.mtl", "asset.png", "asset.usdz", "preview.png", "turntable.mp4")
"What a task may leave for people; an export without frames leaves no video, one without `usdz` no USDZ."


@dataclass(frozen=True)
class Result:
    """The end of a task: `done`, or `failed` with the reason."""

    key: str
    status: str
    error: str = ""
    seconds: float = 0.0
    "From beginning to end; in a pack, the time of its neighbours included."
    files: Mapping[str, str] = field(default_factory=dict)
    "SHA-256 of each file, by name."
    numbers: Mapping[str, float] = field(default_factory=dict)
    "What the export measured: `faces`, `mesh_psnr_median`, `peak_memory_mb`; and `prior_seconds`."
    stops: bool = False
    "The reason is not the prompt's (a full disk, a read-only folder): what comes next would fail as well."


def close(task: Task, seconds: float, loading: float) -> Result:
    """Write the result of a task whose files are all there; from now on it is done.

    `seconds` is what it took in all, `loading` the share in which the prior was loaded (0 where it was there already).
    """
    folder = Path(task.folder)
    files = {name: digest(folder / name) for name in ASSETS if (folder / name).exists()}
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    numbers = {name: metrics[name] for name in ("faces", "mesh_psnr_median", "peak_memory_mb")}
    numbers["prior_seconds"] = round(loading, 3)
    result = Result(task.key, "done", seconds=round(seconds, 3), files=files, numbers=numbers)
    write_atomically(folder / FILE, _json(asdict(result)))
    return result


def finished(task: Task) -> Result | None:
    """The result of a task that is done; None where it has yet to be run, or where its files have gone.

    The files themselves may have changed since: an asset that was exported again stays as its owner wants it.
    """
    path = Path(task.folder) / FILE
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    there = all((path.parent / name).is_file() for name in ("asset.glb", *result.files))
    return result if there and (result.key, result.status) == (task.key, "done") else None


def write_manifest(
    out: Path, tasks: Sequence[Task], results: Mapping[str, Result], refused: Sequence[PromptLine]
) -> None:
    """`manifest.json`: every prompt of the file once, with its folder, its state, its numbers and its checksums."""
    entries = [_entry(out, task, results.get(task.key)) for task in tasks]
    entries += [
        {"lines": [line.number], "prompt": line.prompt, "status": "failed", "error": line.error} for line in refused
    ]
    entries.sort(key=lambda entry: entry["lines"][0])
    write_atomically(out / "manifest.json", _json({"version": 1, "prompts": entries}))


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def failure(task: Task, reason: str, began: float, *, stops: bool = False) -> Result:
    """The end of a task that could not be done; `began` is when, by `time.monotonic`."""
    return Result(task.key, "failed", error=reason, seconds=round(time.monotonic() - began, 3), stops=stops)


def _entry(out: Path, task: Task, result: Result | None) -> dict:
    told = {"lines": list(task.lines), "prompt": task.prompt, "seed": task.seed, "key": task.key}
    told["folder"] = Path(task.folder).relative_to(out.resolve()).as_posix()
    if result is None:
        return {**told, "status": "waiting"}
    facts = {name: value for name, value in asdict(result).items() if name not in ("key", "stops") and value}
    return told | facts


def _json(value: object) -> bytes:
    # Not `ensure_ascii=False`: a prompt may hold half a surrogate pair, which is no UTF-8.
    return (json.dumps(value, indent=1) + "\n").encode()
