"""The table of faults names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = (TESTS.parent / "docs" / "results" / "faults.md").read_text(encoding="utf-8")


def test_every_row_of_the_table_names_a_test_that_exists() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    # 22 rows when the table was written.
    assert len(rows) >= 20
    for row in rows:
        found = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", row)
        assert found, f"no test in the row {row}"
        for file, name in found:
            assert f"def {name}" in (TESTS / file).read_text(encoding="utf-8"), f"{file}::{name}"
