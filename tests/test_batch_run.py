"""Batches without diffusion: a pool that only writes files shows planning, resuming, isolation, reports."""

import errno
import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from dreamkit.batch.pool import AbstractPool, Event
from dreamkit.batch.prompt_file import PromptLine, read_prompts
from dreamkit.batch.result import close, failure, finished
from dreamkit.batch.run import BatchStopped, Progress, Report, run_batch
from dreamkit.batch.task import Defaults, Task, plan_tasks
from dreamkit.progress import show_batch
from dreamkit.report import batch_table
from dreamkit.training.lock import FolderBusy, exclusive

PROMPTS = Path(__file__).parents[1] / "prompts"


@dataclass
class Scribe(AbstractPool):
    """A pool that writes what a run would leave; it fails at prompts with `bad`, and stops the world at `full`."""

    made: list[str] = field(default_factory=list)
    breaks_after: int = 1000

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        for task in tasks:
            if len(self.made) >= self.breaks_after:
                raise KeyboardInterrupt
            if "bad" in task.prompt or "full" in task.prompt:
                yield Event(0, task, failure(task, "no such thing", 0.0, stops="full" in task.prompt))
                continue
            folder = Path(task.folder)
            folder.mkdir()
            (folder / "asset.glb").write_text(task.recipe)
            numbers = {"faces": 12, "mesh_psnr_median": 30.0, "peak_memory_mb": 1.0}
            (folder / "metrics.json").write_text(json.dumps(numbers))
            self.made.append(task.prompt)
            yield Event(0, task, close(task, 1.0, 0.0))


def batch(folder: Path, text: str, pool: Scribe, defaults: Defaults | None = None) -> tuple[list[Progress], Report]:
    file = folder / "prompts.txt"
    file.write_text(text)
    heard = []
    steps = run_batch(file, folder / "out", pool, defaults or Defaults())
    while True:
        try:
            heard.append(next(steps))
        except StopIteration as stop:
            return heard, stop.value


def manifest(folder: Path) -> list[dict]:
    return json.loads((folder / "out" / "manifest.json").read_text())["prompts"]


def test_every_prompt_is_made_once_and_the_second_call_finds_nothing_to_do(tmp_path: Path) -> None:
    text = "a red mug\na blue cat\na red mug\n"
    pool = Scribe()
    _, report = batch(tmp_path, text, pool)
    assert (pool.made, report.failed, report.earlier) == (["a red mug", "a blue cat"], 0, 0)
    assert [entry["lines"] for entry in manifest(tmp_path)] == [[1, 3], [2]]
    heard, again = batch(tmp_path, text, pool)
    assert len(pool.made) == 2
    assert again.earlier == 2
    assert [message.note for message in heard] == ["2 done before; nothing to do"]


def test_a_batch_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    text = "".join(f"a mug --seed {seed}\n" for seed in range(6))
    with pytest.raises(KeyboardInterrupt):
        batch(tmp_path, text, Scribe(breaks_after=2))
    states = [entry["status"] for entry in manifest(tmp_path)]
    assert states == ["done", "done", "waiting", "waiting", "waiting", "waiting"]
    pool = Scribe()
    _, report = batch(tmp_path, text, pool)
    assert (len(pool.made), report.earlier, report.failed) == (4, 2, 0)


def test_lines_may_be_added_moved_and_removed_between_calls(tmp_path: Path) -> None:
    pool = Scribe()
    batch(tmp_path, "a red mug\na blue cat\n", pool)
    batch(tmp_path, "# new\na green car\na blue cat\na red mug\n", pool)
    assert pool.made == ["a red mug", "a blue cat", "a green car"]


def test_a_failing_prompt_is_told_and_leaves_the_others_alone(tmp_path: Path) -> None:
    pool = Scribe()
    heard, report = batch(tmp_path, "a bad thing\na red mug\na cat --sede 3\na cow --set guidance.nope=1\n", pool)
    assert pool.made == ["a red mug"]
    assert report.failed == 3
    states = {entry["prompt"]: entry["status"] for entry in manifest(tmp_path)}
    assert states == {"a bad thing": "failed", "a red mug": "done", "a cat": "failed", "a cow": "failed"}
    notes = " ".join(message.note for message in heard if message.note)
    assert "no such thing" in notes
    assert "line 3" in notes
    assert "nope" in notes
    # A failed prompt is tried again, a done one is not.
    assert [
        entry for entry in batch(tmp_path, "a bad thing\na red mug\n", pool)[0] if entry.prompt == "a red mug"
    ] == []


def test_a_full_disk_stops_the_batch_and_not_each_prompt_in_turn(tmp_path: Path) -> None:
    pool = Scribe()
    with pytest.raises(BatchStopped, match="the same command goes on"):
        batch(tmp_path, "a red mug\na full disk\na blue cat\n", pool)
    assert pool.made == ["a red mug"]
    assert [entry["status"] for entry in manifest(tmp_path)] == ["done", "failed", "waiting"]


def test_a_disk_without_room_for_the_manifest_stops_it_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pool = Scribe()
    batch(tmp_path, "a red mug\n", pool)
    monkeypatch.setattr("dreamkit.batch.run.write_manifest", full)
    with pytest.raises(BatchStopped, match="the same command goes on"):
        batch(tmp_path, "a red mug\na full disk\n", pool)


def test_a_result_without_its_files_is_none(tmp_path: Path) -> None:
    pool = Scribe()
    _, report = batch(tmp_path, "a red mug\n", pool)
    (task,) = report.tasks
    folder = Path(task.folder)
    assert finished(task) is not None
    (folder / "result.json").write_text((folder / "result.json").read_text()[:-20])
    assert finished(task) is None
    (folder / "asset.glb").unlink()
    assert finished(task) is None


def test_two_batches_in_one_folder_are_refused_and_a_dead_one_does_not_matter(tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"), pytest.raises(FolderBusy, match="another process"):
        batch(tmp_path, "a red mug\n", Scribe())
    assert (tmp_path / "out" / "run.lock").exists()
    assert batch(tmp_path, "a red mug\n", Scribe())[1].failed == 0


def test_seeds_of_prompts_do_not_depend_on_their_neighbours(tmp_path: Path) -> None:
    defaults = Defaults(seed=5, seed_per_prompt=True)

    def seeds(*prompts: str) -> list[int]:
        lines = [PromptLine(number, prompt) for number, prompt in enumerate(prompts, start=1)]
        return [task.seed for task in plan_tasks(lines, defaults, tmp_path)[0]]

    mug, cat = seeds("a red mug", "a blue cat")
    assert mug != cat
    assert seeds("a dog", "a blue cat", "a red mug")[1:] == [cat, mug]
    # The same prompt again is another variant.
    assert len({*seeds("a red mug", "a red mug", "a red mug")}) == 3
    with_own = plan_tasks([PromptLine(1, "a red mug", seed=7)], defaults, tmp_path)[0]
    assert with_own[0].seed == 7


def test_options_of_a_line_overrule_those_of_the_batch(tmp_path: Path) -> None:
    defaults = Defaults(settings=("training.steps=5", "prompt.scale=3"))
    lines = [PromptLine(1, "a mug"), PromptLine(2, "a mug", recipe="toybox-csd", settings=("training.steps=9",))]
    plain, own = plan_tasks(lines, defaults, tmp_path)[0]
    assert "steps = 5" in plain.recipe
    assert "steps = 9" in own.recipe
    assert 'type = "csd"' in own.recipe
    assert "scale = 3" in own.recipe


def test_tasks_with_the_same_prior_follow_each_other(tmp_path: Path) -> None:
    priors = [None, "sd15", None, "sdxl", "sd15"]
    lines = [PromptLine(number, f"a mug {number}", prior=prior) for number, prior in enumerate(priors)]
    order = [task.prompt for task in plan_tasks(lines, Defaults(), tmp_path)[0]]
    assert order == ["a mug 0", "a mug 2", "a mug 1", "a mug 4", "a mug 3"]


def test_hostile_prompts_stay_inside_the_folder_and_inside_the_page(tmp_path: Path) -> None:
    lines = read_prompts(PROMPTS / "stress.jsonl")
    out = tmp_path / "out"
    pool = Scribe()
    steps = run_batch(PROMPTS / "stress.jsonl", out, pool, Defaults())
    console = Console(record=True, width=120, file=(tmp_path / "screen").open("w"))
    report = show_batch(steps, console)
    refused = {line.number for line in report.refused}
    whys = [json.loads(line)["# why"] for line in (PROMPTS / "stress.jsonl").read_text().splitlines()]
    assert refused == {number for number, why in enumerate(whys, start=1) if why.endswith("refused")}
    assert len(report.tasks) + len(refused) == len(lines)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.resolve().is_relative_to(out) for path in written - {tmp_path / "screen"})
    assert all(len(path.name) < 100 and path.name.isascii() for path in out.iterdir())
    page = (out / "index.html").read_text()
    assert "<script" not in page
    assert "onerror=alert(1)&gt;" in page
    assert page.count("<h1>") == 1
    assert page.count("<article") == len(lines)
    console.print(batch_table(report))
    assert "\x1b[2J" not in console.export_text()


def test_the_contact_sheet_shows_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    batch(tmp_path, "a bad mug\na red mug\n", Scribe())
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.index("a bad mug") < page.index("a red mug")
    assert 'class="failed"' in page
    assert "1 done, 1 failed" in page
    assert "/asset.glb" in page
    assert "turntable.mp4" not in page


def test_closing_a_batch_closes_its_pool_and_frees_its_folder(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red mug\na blue cat\n")
    with closing(run_batch(tmp_path / "prompts.txt", tmp_path / "out", Scribe(), Defaults())) as steps:
        next(steps)
    with exclusive(tmp_path / "out"):
        assert [entry["status"] for entry in manifest(tmp_path)] == ["done", "waiting"]
