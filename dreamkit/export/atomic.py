"""Files appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UMASK = os.umask(0)
os.umask(_UMASK)
# Read once, here: it can only be read by changing it, for all threads.

_PARTIAL = ".partial"
"What temporary files have in their names, so that those of a killed process can be told from a person's."


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its ending; renamed to `path` when the block succeeds, else removed.

    A reader never sees half a file, also after a power cut, and a failed run leaves the previous file as it was. Errors
    of the file system (read-only folder, full disk) come out as the OSError they are.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f"{_PARTIAL}{path.suffix}", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        # mkstemp makes files that only their owner may read; assets are for sharing.
        os.chmod(name, 0o666 & ~_UMASK)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; only for the one process that works there."""
    for pattern in (f".*-????????{_PARTIAL}.*", f"*.safetensors{_PARTIAL}"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
