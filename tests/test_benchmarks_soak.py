"""What the soak test calls growth, and what it calls a file."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "robustness"))

from soak import GROWTH_FILES, GROWTH_MB, Findings, _made, _written, judge


@pytest.mark.parametrize(
    ("memory", "files", "words"),
    [
        ([500.0] * 5 + [700.0] * 35, [9] * 40, None),
        ([500.0 + (GROWTH_MB / 15) * i for i in range(40)], [9] * 40, "MB"),
        ([500.0] * 40, [9 + i * GROWTH_FILES // 10 for i in range(40)], "open files"),
        ([500.0] * 7, [9] * 7, "too few"),
    ],
)
def test_growth_after_the_warm_up_is_wrong(memory: list[float], files: list[int], words: str | None) -> None:
    found = Findings(memory_mb=memory, files=files)
    judge(found)
    assert [words in text for text in found.wrong] == ([True] if words else [])


def test_a_batch_that_ended_early_has_made_nothing(tmp_path: Path) -> None:
    found = Findings()
    assert _made(tmp_path, found) == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "checkpoint.safetensors").write_text("x")
    assert len(_written(tmp_path)) == 1


def test_a_missing_prompt_and_a_file_left_behind_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"prompts": [{"prompt": "a red mug", "status": "done"}]}')
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text("{}")
    (tmp_path / "a" / ".asset-x.partial.glb").write_text("x")
    found = Findings()
    _made(tmp_path, found)
    assert len(found.wrong) == 2
    assert "each prompt once" in found.wrong[0]
    assert "left behind" in found.wrong[1]
