"""The table of the method cards names tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = (TESTS.parent / "docs" / "results" / "cards.md").read_text(encoding="utf-8")


def named() -> list[tuple[str, str]]:
    """(file, test) of every test in the table; `::name` belongs to the file named before it."""
    found, file = [], ""
    for given, name in re.findall(r"`(test_\w+\.py)?::(\w+)`", TABLE):
        file = given or file
        found.append((file, name))
    return found


def test_every_test_in_the_table_exists() -> None:
    tests = named()
    # 103 rows with at least one test when the table was written.
    assert len(tests) > 100
    files = {file: (TESTS / file).read_text(encoding="utf-8") for file, _ in tests if (TESTS / file).is_file()}
    missing = [f"{file}::{name}" for file, name in tests if f"def {name}(" not in files.get(file, "")]
    assert not missing, f"docs/results/cards.md names tests that do not exist: {missing}"


@pytest.mark.parametrize(
    ("section", "last"), [(1, 6), (2, 6), (3, 5), (4, 4), (5, 7), (6, 7), (7, 7), (8, 4), (12, 14), (13, 12), (14, 16)]
)
def test_every_id_of_a_section_has_a_row(section: int, last: int) -> None:
    """The cards' ids run without gaps; section 12 begins at 0."""
    guidance = TABLE.split("## Representations")[0]
    for number in range(0 if section == 12 else 1, last + 1):
        assert f"| T{section}.{number} |" in guidance


@pytest.mark.parametrize(
    ("section", "last"), [(1, 6), (3, 4), (4, 6), (5, 6), (6, 6), (7, 6), (8, 8), (10, 5), (11, 5)]
)
def test_every_id_of_a_representation_card_has_a_row(section: int, last: int) -> None:
    part = TABLE.split(f"## Representations, section {section} ")[1].split("## Representations")[0]
    ids = {name for row in part.splitlines() for name in re.findall(r"T\d+\.\d+", row.split(" | ")[0])}
    assert {f"T{section}.{number}" for number in range(1, last + 1)} <= ids
