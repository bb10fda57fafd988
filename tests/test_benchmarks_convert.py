"""The table of conversions: every cell has a way and its settings, before an hour is spent on the others."""

import sys
from pathlib import Path

import pytest

from dreamkit.convert.plan import kind

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "quality"))

from convert_settings import KINDS, converter_between


@pytest.mark.parametrize("source", KINDS)
def test_every_cell_of_a_row_has_a_way_with_settings(source: str) -> None:
    for target in KINDS:
        assert converter_between(source, target, fit=False).joins(kind(source), kind(target)), target
