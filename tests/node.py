"""Programs of the npm world, for tests; without them those tests are skipped and say so."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def node_folder(package: str) -> Path:
    """The folder with an npm package in it; skips where node or the package is missing."""
    folders = [Path(folder) for folder in (os.environ.get("NODE_PATH", ""), str(ROOT / "node_modules")) if folder]
    found = [folder for folder in folders if (folder / package).is_dir()]
    if shutil.which("node") is None or not found:
        pytest.skip(f"needs node, and `npm install {package}` at the root or in the folder named by NODE_PATH")
    return found[0]
