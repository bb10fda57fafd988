"""Tasks of a second or two with the prior in the box, and what their files add up to."""

import hashlib
from pathlib import Path

from dreamkit.batch.prompt_file import PromptLine
from dreamkit.batch.task import Defaults, Task, plan_tasks

TINY = (
    "training.steps=6", "training.checkpoint_every=2", "shape.levels.log2_table_size=10", "shape.density_map.scale=20",
    "renderer.samples=16", "export.grid=16", "export.faces=200", "export.texture=32", "export.refine=1",
    "export.frames=0", "export.size=16",
)  # fmt: skip


def plan(out: Path, *prompts: str) -> tuple[Task, ...]:
    lines = [PromptLine(number, prompt) for number, prompt in enumerate(prompts, start=1)]
    tasks, refused = plan_tasks(lines, Defaults(settings=TINY), out)
    assert not refused
    return tasks


def checksums(out: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every asset."""
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*/asset.*")}


def worker_at(folder: Path) -> int:
    """The process that holds the lock of a folder."""
    inode = (folder / "run.lock").stat().st_ino
    lock = next(line for line in Path("/proc/locks").read_text().splitlines() if f":{inode} " in line)
    return int(lock.split()[4])
