"""All runs of a server: one queue for one device, and every visitor's runs by name."""

import contextlib
import itertools
import shutil
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dreamkit.construct import Spec, type_name
from dreamkit.conversion import check_conversion, convert_run
from dreamkit.convert.plan import kind
from dreamkit.export.asset import check_export
from dreamkit.export.atomic import write_atomically
from dreamkit.generate import check_export_settings, export_run, generate, settled
from dreamkit.names import folder_name
from dreamkit.priors.base import AbstractPrior
from dreamkit.recipe import Recipe, SourcePlan, load_recipe
from dreamkit.recipe_file import apply_settings, read_table
from dreamkit.rendering import Step
from dreamkit.service.conversion_order import ConversionOrder, read_order
from dreamkit.service.limits import check_table
from dreamkit.service.order import Order
from dreamkit.service.past import PastRun, confined, converted_title, list_past, read_past
from dreamkit.service.run import Run, Snapshot, State
from dreamkit.service.upload import Upload

_REMEMBERED = 100
"Runs whose curves and pictures are kept in memory."


class TooBusy(ValueError):
    """The queue is full."""


class Runs:
    """Takes orders from any thread and carries them out one after the other, in a thread of its own.

    Runs live in folders of `folder`, so they outlast the page that asked for them and the server itself. `priors` are
    the models that visitors may choose; the last one that was used stays loaded. Raises OSError where `folder` cannot
    be made.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", priors: Sequence[str] = ("toybox",), longest: int = 50
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.device, self.priors, self.longest = folder.resolve(), device, tuple(priors), longest
        self._runs: dict[str, Run] = {}
        self._queue: deque[Run] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._loaded: tuple[Spec, AbstractPrior] | None = None
        self._worker = threading.Thread(target=self._serve, name="dreamkit-runs", daemon=True)
        self._worker.start()

    def submit(self, order: Order) -> str:
        """Check an order and put it into the queue; returns the name of its run.

        Raises ValueError (RecipeError, UnknownWords, UnknownRun, TooBusy) and OSError.
        """
        source = self._finished(order.source).folder if order.source and order.asset is None else None
        recipe = order.checked(self.priors, source)
        if order.asset is not None:
            return self._submit_file(recipe, order.asset)
        recipe = settled(recipe)
        with self._changed:
            self._check_room()
            return self._begin(recipe, self._reserve(folder_name(recipe.prompt.text, recipe.seed)))

    def resume(self, name: str) -> str:
        """Go on with a run that was stopped: an optimisation from its last checkpoint, other work from its beginning.

        Raises ValueError and OSError.
        """
        folder = confined(self.folder, name)
        with self._changed:
            self._check_idle(name)
            known = self._runs.get(name)
            if known is not None:
                return self._add(Run(name, known.title, known.work, known.begins_again))
        past, order = read_past(folder), read_order(folder)
        if order is not None and not past.is_done:
            self._check_conversion(order)
            with self._changed:
                self._check_idle(name)
                return self._add(self._conversion(order, folder))
        recipe = load_recipe(str(past.folder / "recipe.toml"))
        with self._changed:
            self._check_idle(name)
            return self._add(Run(name, past.prompt, lambda: self._generate(recipe, past.folder)))

    def export(self, name: str, settings: Sequence[str]) -> str:
        """Write a finished run's files again, with other `export.` settings. Raises ValueError and OSError."""
        past = self._finished(name)
        check_export_settings(settings)
        table = read_table(str(past.folder / "recipe.toml"), settings)
        check_table({"export": table["export"]}, self.priors)
        check_export(load_recipe(str(past.folder / "recipe.toml"), settings).export)
        with self._changed:
            self._check_idle(name)
            return self._add(Run(name, past.title, lambda: export_run(past.folder, tuple(settings))))

    def convert(self, name: str, to: str, settings: Sequence[str] = (), by: str | None = None) -> str:
        """Carry a finished run's scene to another kind of shape, in a run of its own; returns that one's name.

        `settings` are those of `dreamkit convert`. A conversion keeps nothing on the way: one that was stopped, or
        whose server died, begins again when it is resumed. Raises ValueError (RecipeError, NoRoute, UnknownRun,
        TooBusy) and OSError.
        """
        past, target = self._finished(name), type_name(kind(to))
        order = ConversionOrder(name, target, converted_title(past.title, target), tuple(settings), by or "")
        self._check_conversion(order)
        with self._changed:
            self._check_room()
            folder = self._reserve(f"{name}-{target.replace('_', '-')}")
            try:
                order.write(folder)
            except (ValueError, OSError):
                shutil.rmtree(folder)
                raise
            return self._add(self._conversion(order, folder))

    def stop(self, name: str) -> None:
        """Stop a run; what it has saved stays. Raises UnknownRun."""
        with self._changed:
            run = self._runs.get(name)
            if run is None:
                confined(self.folder, name)
                return
            run.stop()
            if run in self._queue:
                self._queue.remove(run)

    def snapshot(self, name: str) -> Snapshot:
        """How a run stands, also one of an earlier server. Raises UnknownRun, and ValueError for a damaged folder."""
        with self._changed:
            run = self._runs.get(name)
            if run is not None:
                return replace(run.snapshot(), ahead=self._ahead(run))
        past = read_past(confined(self.folder, name))
        return Snapshot(
            name, past.title, State.DONE if past.is_done else State.STOPPED, begins_again=past.is_interrupted
        )

    def history(self) -> list[PastRun]:
        """The finished runs, newest first."""
        return list_past(self.folder)

    def close(self) -> None:
        """Stop what runs and what waits, and end the thread."""
        with self._changed:
            self._closed = True
            for run in self._runs.values():
                run.stop()
            self._queue.clear()
            self._changed.notify_all()
        self._worker.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                run = self._queue.popleft()
            run.carry_out()

    def _add(self, run: Run) -> str:
        self._runs.pop(run.name, None)
        self._runs[run.name] = run
        self._forget()
        self._queue.append(run)
        self._changed.notify_all()
        return run.name

    def _forget(self) -> None:
        """Keep the memory bounded: runs at rest are on the disk, the oldest leave first."""
        resting = [name for name, run in self._runs.items() if not run.snapshot().state.is_live]
        for name in resting[: max(0, len(self._runs) - _REMEMBERED)]:
            del self._runs[name]

    def _ahead(self, run: Run) -> int:
        """How many runs come before this one: those before it in the queue, and the one on the device."""
        if run not in self._queue:
            return 0
        working = any(other.snapshot().state in (State.RUNNING, State.STOPPING) for other in self._runs.values())
        return self._queue.index(run) + int(working)

    def _finished(self, name: str) -> PastRun:
        past = read_past(confined(self.folder, name))
        if not past.is_done:
            raise ValueError(f"the run {name} is not finished; choose a finished one from the gallery")
        return past

    def _check_room(self) -> None:
        if len(self._queue) >= self.longest:
            raise TooBusy(f"{len(self._queue)} runs are waiting already; try again when some of them are done")

    def _check_idle(self, name: str) -> None:
        self._check_room()
        run = self._runs.get(name)
        if run is not None and run.snapshot().state.is_live:
            raise ValueError(f"the run {name} is not at rest: it is {run.snapshot().state}")

    def _reserve(self, base: str) -> Path:
        """A new folder of its own for a run: `a-red-mug-0`, or with a number behind it."""
        for name in itertools.chain([base], (f"{base}-{n}" for n in itertools.count(2))):
            with contextlib.suppress(FileExistsError):
                (self.folder / name).mkdir()
                return self.folder / name
        raise AssertionError("counting ended")

    def _begin(self, recipe: Recipe, folder: Path) -> str:
        # From here on the run is on the disk: a server that dies loses no order.
        write_atomically(folder / "recipe.toml", recipe.text().encode())
        return self._add(Run(folder.name, recipe.prompt.text, lambda: self._generate(recipe, folder)))

    def _submit_file(self, recipe: Recipe, asset: Upload) -> str:
        """Keep a file beside the run that starts from it; reading it takes a while, and nobody has to wait for that."""
        with self._changed:
            self._check_room()
            folder = self._reserve(folder_name(recipe.prompt.text, recipe.seed))
        try:
            recipe = settled(replace(recipe, source=SourcePlan(str(asset.store(folder)))))
            with self._changed:
                self._check_room()
                return self._begin(recipe, folder)
        except BaseException:
            shutil.rmtree(folder)
            raise

    def _check_conversion(self, order: ConversionOrder) -> None:
        try:
            check_table(apply_settings({"shape": {"type": order.to}}, order.settings), self.priors)
        except RecursionError as error:
            raise ValueError("a setting is nested too deeply to be read") from error
        check_conversion(self._finished(order.source).folder, order.to, order.by or None, order.settings)

    def _conversion(self, order: ConversionOrder, folder: Path) -> Run:
        return Run(folder.name, order.title, lambda: self._convert(order, folder), begins_again=True)

    def _generate(self, recipe: Recipe, folder: Path) -> Iterator[Step]:
        prior = self._prior(recipe.prior)
        yield from generate(recipe, folder, device=self.device, resume=True, prior=prior)

    def _convert(self, order: ConversionOrder, folder: Path) -> Iterator[Step]:
        # Half of an earlier attempt: a stop while it was exported.
        (folder / "recipe.toml").unlink(missing_ok=True)
        yield from convert_run(self.folder / order.source, order.to, folder, order.by or None, order.settings)

    def _prior(self, wanted: Spec) -> AbstractPrior:
        if self._loaded is None or self._loaded[0] != wanted:
            # Two large models at once may not fit: the old one goes first.
            self._loaded = None
            self._loaded = (wanted, wanted.build(device=self.device))
        return self._loaded[1]
