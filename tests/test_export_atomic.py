"""Files are whole or absent, whatever kills the process that writes them."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from dreamkit.export.atomic import atomic_path, sweep, write_atomically


def test_kill_9_leaves_the_old_file_or_the_new_and_the_rest_is_swept(tmp_path: Path) -> None:
    path, draw = tmp_path / "asset.glb", random.Random(0)
    write_atomically(path, b"0" * 200_000)
    seen, left = set(), 0
    for _ in range(15):
        child = os.fork()
        if child == 0:
            for number in range(10**9):
                write_atomically(path, str(number % 10).encode() * 200_000)
            os._exit(1)
        time.sleep(draw.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = path.read_bytes()
        assert len(content) == 200_000
        assert len(set(content)) == 1
        seen.add(content[:1])
        left += len(list(tmp_path.iterdir())) - 1
        sweep(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["asset.glb"]
    assert left, "no child was killed while it wrote"
    assert len(seen) > 1


def test_the_sweep_leaves_what_people_put_there(tmp_path: Path) -> None:
    names = [".hidden", "film.mp4.partial", "notes.partial.txt", ".a-b.partial.txt", "asset.glb"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "checkpoint.safetensors.partial").touch()
    (tmp_path / ".turntable-abcd1234.partial.mp4").touch()
    sweep(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(names)


def test_a_failed_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "asset.glb"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
