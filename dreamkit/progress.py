"""Live views in the terminal: of `Step`s, one bar for each stage; of a batch, one for each asset in the making."""

from collections.abc import Generator, Iterator
from contextlib import closing

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dreamkit.batch.run import Progress as BatchProgress
from dreamkit.batch.run import Report
from dreamkit.names import shown
from dreamkit.rendering import Step


def show(steps: Iterator[Step], console: Console) -> None:
    """Consume the steps; notes are printed above the bars."""
    with _bars(console) as bars:
        tasks: dict[str, int] = {}
        for step in steps:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.stage, total=step.total, detail="")
            detail = f"loss {step.loss:.4g}" if step.loss else ""
            bars.update(tasks[step.stage], completed=step.index, detail=detail)  # pyright: ignore[reportArgumentType]
            if step.note:
                bars.console.print(f"  {step.note}", style="dim", markup=False)


def show_batch(messages: Generator[BatchProgress, None, Report], console: Console) -> Report:
    """Consume a batch: a bar for all, and one for each asset that is in the making. Returns its report."""
    # Closed here: the workers must not outlive a Ctrl-C.
    with closing(messages), _bars(console) as bars:
        whole = bars.add_task("batch", total=None, detail="")
        places: dict[int, int] = {}
        while True:
            try:
                said = next(messages)
            except StopIteration as stop:
                return stop.value
            failed = f"{said.failed} failed" if said.failed else ""
            bars.update(whole, completed=said.done + said.failed, total=said.total, detail=failed)  # pyright: ignore[reportArgumentType]
            if said.place is not None:
                if said.place not in places:
                    places[said.place] = bars.add_task("", detail="")
                _show_asset(bars, places[said.place], said)
            if said.note:
                bars.console.print(f"  {said.note}", style="dim", markup=False)


def _show_asset(bars: Progress, bar: int, said: BatchProgress) -> None:
    stage = said.step.stage if said.step else "done"
    index, total = (said.step.index, said.step.total) if said.step else (1, 1)
    name = escape(shown(said.prompt, 28))
    bars.update(bar, description=name, completed=index, total=total, detail=stage)  # pyright: ignore[reportArgumentType]


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]:<22}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
