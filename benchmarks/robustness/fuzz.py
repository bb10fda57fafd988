"""Fuzz what reads strangers' input: random damage for a time, and whatever is no refusal in words is a finding.

python benchmarks/robustness/fuzz.py importers --minutes 10      # or recipes, prompts, app; --help says more

Each case runs with a bound on memory and on processor time, in a folder of its own; opening a file elsewhere for
writing, starting a process, using the network or unpickling is a finding (the interpreter's audit events). Where the
process dies, another goes on with the next case. `--first N --cases 1` runs case N again. Exit code 1 with findings.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from target import AbstractTarget

MEMORY = 6 << 30
"Bytes of address space; torch alone maps some 2 GB of libraries."
PATIENCE = 20.0
"Seconds of processor time for one case."
_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
_NEVER = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.connect",
          "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen"}  # fmt: skip


class Escaped(BaseException):
    """A case did what no reader may do. No `except Exception` stops it."""


class TooSlow(BaseException):
    """A case took more than its processor time."""


@dataclass
class Guard:
    """Listens to the interpreter's audit events while a case runs."""

    inside: Path
    active: bool = False
    "Lazy imports and the fuzzer's own bookkeeping are no case."

    def __post_init__(self) -> None:
        sys.addaudithook(self._hear)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Events count within the block."""
        self.active = True
        try:
            yield
        finally:
            self.active = False

    def _hear(self, event: str, values: tuple) -> None:
        if not self.active:
            return
        if event in _NEVER and not _imports():
            raise Escaped(f"{event} {values[:2]!r}")
        writes = event == "open" and bool(values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
        if writes or event in _WRITES:
            self._check(event, values[0])

    def _check(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # A file that is open already.
        # Not `resolve`: a link inside that leads outside is made by nobody here.
        place = os.path.abspath(os.fsdecode(path))
        if not f"{place}{os.sep}".startswith(f"{self.inside}{os.sep}") and place != os.devnull:
            raise Escaped(f"{event} {place}")


def _imports() -> bool:
    """Whether the event comes from an import, which may load libraries."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@dataclass
class Tally:
    """What became of the cases."""

    taken: int = 0
    refused: int = 0
    findings: dict[str, str] = field(default_factory=dict)
    "The first case of each kind, by where it happened."


def run_cases(name: str, target: AbstractTarget, guard: Guard, first: int, cases: int, seconds: float) -> Tally:
    """Run the cases `first`, `first + 1` ... for some time, one at least."""
    tally, deadline = Tally(), time.monotonic() + seconds
    signal.signal(signal.SIGVTALRM, _too_slow)
    for number in range(first, first + cases):
        (target.folder.parent / "case").write_text(str(number))
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
        try:
            with guard.watching():
                target.attempt(Random(f"{name} {number}"))
            tally.taken += 1
        except target.refusals as refusal:
            tally.refused += 1
            if not str(refusal):
                _note(tally, number, refusal)
        except (Exception, Escaped, TooSlow, RecursionError) as problem:
            _note(tally, number, problem)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if time.monotonic() > deadline:
            break
    return tally


def _note(tally: Tally, number: int, problem: BaseException) -> None:
    frames = traceback.extract_tb(problem.__traceback__)
    here = [frame for frame in frames if "/dreamkit/" in frame.filename] or frames
    place = f"{type(problem).__name__} at {Path(here[-1].filename).name}:{here[-1].lineno}"
    text = "".join(traceback.format_exception(problem, limit=-8))
    tally.findings.setdefault(place, f"case {number}: {text[-2500:]}")


def _too_slow(signum: int, frame: object) -> None:
    raise TooSlow(f"more than {PATIENCE:.0f} s of processor time")


def _child(given: argparse.Namespace) -> None:
    """One process: bounded memory, its own folder, a line of JSON at the end."""
    # Here, as the parent needs no torch.
    from targets import TARGETS

    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(given.folder) / "work"
    os.chdir(folder)
    target = TARGETS[given.target](folder)
    tally = run_cases(given.target, target, Guard(folder), given.first, given.cases, given.seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**vars(tally), "peak_mb": peak}))


def fuzz(target: str, seconds: float, first: int = 0, cases: int = sys.maxsize) -> dict:
    """Run children until the time is over; returns the sum of what they found."""
    deadline, total = (
        time.monotonic() + seconds,
        {"target": target, "taken": 0, "refused": 0, "deaths": 0, "peak_mb": 0},
    )
    findings: dict[str, str] = {}
    last = first + cases
    while first < last and (left := deadline - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            _prepare(Path(folder))
            done = _spawn(target, folder, left, first, last - first)
            case = Path(folder) / "case"
            number = int(case.read_text()) if case.exists() else first
            if (Path(folder) / "guard" / "secret.txt").read_text() != "secret" or _strays(Path(folder)):
                findings["strays"] = f"up to case {number}: {_strays(Path(folder))}"
        first = number + 1
        if done.returncode:
            total["deaths"] += 1
            findings[f"died with {done.returncode}"] = f"case {number}: {done.stderr[-2500:]}"
            if not case.exists() and "Traceback" in done.stderr:
                break  # It cannot even start.
            continue
        told = json.loads(done.stdout.splitlines()[-1])
        for key in ("taken", "refused"):
            total[key] += told[key]
        total["peak_mb"] = max(total["peak_mb"], told["peak_mb"])
        findings = told["findings"] | findings
    return {**total, "seconds": round(seconds), "findings": findings}


def _prepare(folder: Path) -> None:
    for name in ("work", "guard"):
        (folder / name).mkdir()
    (folder / "guard" / "secret.txt").write_text("secret")


def _spawn(target: str, folder: str, seconds: float, first: int, cases: int) -> subprocess.CompletedProcess:
    command = [sys.executable, __file__, target, "--folder", folder, "--seconds", str(seconds)]
    command += ["--first", str(first), "--cases", str(cases)]
    surroundings = {**os.environ, "TMPDIR": f"{folder}/work", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=surroundings)


def _strays(folder: Path) -> list[str]:
    """What lies beside the folder of the cases."""
    return [str(path) for path in folder.rglob("*") if "work" not in path.relative_to(folder).parts
            and path.relative_to(folder).as_posix() not in ("case", "guard", "guard/secret.txt")]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=("importers", "recipes", "prompts", "app"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=10**12, help="how many at most")
    parser.add_argument("--out", type=Path, help="folder for TARGET.json")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        _child(given)
        return
    total = fuzz(given.target, 60 * given.minutes, given.first, given.cases)
    text = json.dumps(total, indent=1)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{given.target}.json").write_text(text + "\n")
    sys.exit(1 if total["findings"] else 0)


if __name__ == "__main__":
    main()
