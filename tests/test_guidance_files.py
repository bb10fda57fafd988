"""The house rule for methods: a method is one short file that holds only its difference."""

from collections import defaultdict
from pathlib import Path

import dreamkit.guidance.base

FILES = sorted(Path(dreamkit.guidance.base.__file__).parent.glob("*.py"))
LONGEST, BLOCK = 80, 6


def test_no_guidance_file_is_long() -> None:
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert len(lines) > 30
    assert not {name: count for name, count in lines.items() if count > LONGEST}


def test_no_two_guidance_files_share_a_block() -> None:
    """Six lines in a row, imports and empty lines apart."""
    seen = defaultdict(set)
    for file in FILES:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line and not line.startswith(("import ", "from "))]
        for i in range(len(lines) - BLOCK + 1):
            seen["\n".join(lines[i : i + BLOCK])].add(file.name)
    assert not {block: files for block, files in seen.items() if len(files) > 1}
