"""A batch: every prompt of a file made once, whatever happens on the way."""

import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from dreamkit.batch.contact_sheet import write_contact_sheet
from dreamkit.batch.pool import AbstractPool, Event
from dreamkit.batch.prompt_file import PromptLine, read_prompts
from dreamkit.batch.result import Result, finished, write_manifest
from dreamkit.batch.task import Defaults, Task, plan_tasks
from dreamkit.names import shown
from dreamkit.rendering import Step
from dreamkit.training.lock import exclusive


class BatchStopped(ValueError):
    """The machine cannot go on (a full disk, say); what is done is kept, and the message says what to do."""


@dataclass(frozen=True)
class Progress:
    """One message of a batch."""

    done: int
    "Assets that are there, those of earlier calls included."
    failed: int
    total: int
    note: str | None = None
    place: int | None = None
    "Which of the assets in the making this is about; None for the batch itself."
    prompt: str = ""
    step: Step | None = None
    "Where that asset stands; None when it has ended."


@dataclass(frozen=True)
class Report:
    """The end of a batch."""

    out: Path
    tasks: tuple[Task, ...]
    results: Mapping[str, Result]
    "By the task's key; a task that was not reached has none."
    refused: tuple[PromptLine, ...]
    "Lines of the file that could not be run."
    earlier: int
    "Tasks that an earlier call had done already."

    @property
    def failed(self) -> int:
        """Prompts without an asset."""
        return len(self.tasks) - sum(result.status == "done" for result in self.results.values()) + len(self.refused)


def run_batch(file: Path, out: Path, pool: AbstractPool, defaults: Defaults) -> Generator[Progress, None, Report]:
    """Make an asset for every prompt of a file, in folders of `out`; the generator's return value is a Report.

    What is done already, by this call or an earlier one that was stopped or killed, is not done again. A prompt that
    fails is told and leaves the others alone. `out` also gets `manifest.json` and a contact sheet, `index.html`. Raises
    FileNotFoundError and ValueError for a file without prompts, FolderBusy, BatchStopped, WorkersBroken, OSError.
    """
    lines = read_prompts(file)
    with exclusive(out):
        tasks, refused = plan_tasks(lines, defaults, out)
        results = {task.key: result for task in tasks if (result := finished(task)) is not None}
        report = Report(out, tasks, results, refused, earlier=len(results))
        try:
            yield from _beginning(report)
            yield from _run(report, results, pool)
        finally:
            # The disk that stopped the batch may refuse these too; why it stopped is what to say.
            with suppress(OSError) if isinstance(sys.exc_info()[1], BatchStopped) else nullcontext():
                write_manifest(out, tasks, results, refused)
                write_contact_sheet(out, tasks, results, refused)
    return report


def _beginning(report: Report) -> Iterator[Progress]:
    for line in report.refused:
        yield _progress(report, f"line {line.number}: {shown(line.error, 300)}")
    waiting = len(report.tasks) - report.earlier
    if report.earlier:
        yield _progress(
            report, f"{report.earlier} done before; " + (f"{waiting} to do" if waiting else "nothing to do")
        )


def _run(report: Report, results: dict[str, Result], pool: AbstractPool) -> Iterator[Progress]:
    waiting = [task for task in report.tasks if task.key not in results]
    with closing(pool.run(waiting)) as events:
        for event in events:
            yield _heard(report, results, event)


def _heard(report: Report, results: dict[str, Result], event: Event) -> Progress:
    task, said = event.task, event.said
    if isinstance(said, Step):
        note = f"{shown(task.prompt, 60)}: {said.note}" if said.note and said.stage == "optimise" else None
        return _progress(report, note, event.place, task.prompt, said)
    results[task.key] = said
    if said.stops:
        raise BatchStopped(f"{said.error}. Mend this; what is done is kept, and the same command goes on from there.")
    write_manifest(report.out, report.tasks, results, report.refused)
    note = f"{shown(task.prompt, 60)} failed: {shown(said.error, 300)}" if said.status == "failed" else None
    return _progress(report, note, event.place, task.prompt)


def _progress(
    report: Report, note: str | None = None, place: int | None = None, prompt: str = "", step: Step | None = None
) -> Progress:
    failed = sum(result.status == "failed" for result in report.results.values())
    done, total = len(report.results) - failed, len(report.tasks) + len(report.refused)
    return Progress(done, failed + len(report.refused), total, note, place, prompt, step)


def summary(report: Report) -> list[tuple[str, str, str, str]]:
    """Rows for a table: prompt, state, seconds, folder or reason; in the order of the file."""
    rows = [(task.lines[0], _row(task, report.results.get(task.key))) for task in report.tasks]
    rows += [(line.number, (shown(line.prompt), "failed", "-", shown(line.error))) for line in report.refused]
    return [row for _, row in sorted(rows)]


def _row(task: Task, result: Result | None) -> tuple[str, str, str, str]:
    if result is None:
        return shown(task.prompt, 60), "waiting", "-", Path(task.folder).name
    last = Path(task.folder).name if result.status == "done" else shown(result.error)
    return shown(task.prompt, 60), result.status, f"{result.seconds:.0f}", last
