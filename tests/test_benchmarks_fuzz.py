"""The fuzzer itself: its targets hold for a few cases, and it finds what it is there to find."""

import socket
import sys
from pathlib import Path
from random import Random

import pytest

ROBUSTNESS = Path(__file__).parents[1] / "benchmarks" / "robustness"
sys.path.insert(0, str(ROBUSTNESS))

from fuzz import Guard, Tally, run_cases  # noqa: E402
from mutation import spoiled_bytes, spoiled_text, spoiled_tree  # noqa: E402
from target import AbstractTarget  # noqa: E402
from targets import TARGETS  # noqa: E402

GUARDS: list[Guard] = []
"One for all tests: an audit hook cannot be taken away."


def cases(name: str, target: AbstractTarget, count: int = 25) -> Tally:
    if not GUARDS:
        GUARDS.append(Guard(target.folder))
    GUARDS[0].inside = target.folder
    return run_cases(name, target, GUARDS[0], 0, count, 60)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work"))
    return tmp_path / "work"


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_cases_are_taken_or_refused_in_words(name: str, work: Path) -> None:
    tally = cases(name, TARGETS[name](work))
    assert tally.findings == {}
    assert tally.refused > 0
    assert tally.taken + tally.refused == 25


class Planted(AbstractTarget):
    """Does what no reader may do."""

    def attempt(self, random: Random) -> None:
        deed = random.choice(("crash", "write", "network", "silence", "fine"))
        if deed == "crash":
            {}["missing"]
        elif deed == "write":
            (self.folder.parent / "escaped").write_text("x")
        elif deed == "network":
            socket.create_connection(("127.0.0.1", 1))
        elif deed == "silence":
            raise ValueError


def test_crashes_escapes_and_wordless_refusals_are_found(work: Path) -> None:
    tally = cases("planted", Planted(work), 40)
    kinds = {place.split()[0] for place in tally.findings}
    assert kinds == {"KeyError", "Escaped", "ValueError"}
    assert sum("socket" in text for text in tally.findings.values()) == 1
    assert not (work.parent / "escaped").exists()
    assert tally.taken > 0


def test_a_case_is_the_same_whenever_it_is_drawn() -> None:
    tree = {"a": [1, {"b": "c"}], "d": 2.5}
    for draw in (
        lambda random: spoiled_bytes(random, b"glTF" * 20),
        lambda random: spoiled_text(random, "v 1 2 3\nf 1 2 3\n"),
        lambda random: repr(spoiled_tree(random, tree)),
    ):
        assert [draw(Random(7)) for _ in range(3)] == [draw(Random(7))] * 3
        assert len({draw(Random(seed)) for seed in range(20)}) > 10
    assert tree == {"a": [1, {"b": "c"}], "d": 2.5}
