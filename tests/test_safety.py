"""House rules that keep a run safe: nothing is unpickled, and nothing measures time by a clock that people set."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "dreamkit").rglob("*.py"), *ROOT.glob("*.py")])
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"Modules that read pickles or the like."
READERS = {("torch", "load"), ("torch", "save"), ("np", "load"), ("numpy", "load"), ("torch.jit", "load")}
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")}
"A clock that jumps (daylight saving, NTP, a person) would make durations negative and bytes depend on the day."


def names(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Modules imported anywhere in a file, and every `a.b` in it; `from a import b` counts as `a.b`."""
    modules, attributes = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
            attributes |= {(node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Attribute):
            attributes.add((ast.unparse(node.value).removeprefix("datetime."), node.attr))
    return modules, attributes


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_and_no_clock_is_read(path: Path) -> None:
    modules, attributes = names(path)
    assert not modules & PICKLES
    assert not attributes & READERS
    assert not attributes & CLOCKS


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from torch import load", "import torch\ntorch.load('x')", "import numpy as np\nnp.load('x')",
     "import time\ntime.time()",
     "from datetime import datetime\ndatetime.now()", "import datetime\ndatetime.datetime.now()"],
)  # fmt: skip
def test_the_rule_finds_what_it_forbids(code: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(code)
    modules, attributes = names(tmp_path / "x.py")
    assert modules & PICKLES or attributes & (READERS | CLOCKS)
