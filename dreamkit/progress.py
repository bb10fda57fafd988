"""A live view of a stream of `Step`s in the terminal: one bar for each stage, with loss and time left."""

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dreamkit.rendering import Step


def show(steps: Iterator[Step], console: Console) -> None:
    """Consume the steps; notes are printed above the bars."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]:<22}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, int] = {}
        for step in steps:
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(step.stage, total=step.total, detail="")
            detail = f"loss {step.loss:.4g}" if step.loss else ""
            bars.update(tasks[step.stage], completed=step.index, detail=detail)  # pyright: ignore[reportArgumentType]
            if step.note:
                bars.console.print(f"  {step.note}", style="dim", markup=False)
