"""Whatever dreamkit imports, an install of dreamkit brings along."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "dreamkit").rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

DISTRIBUTIONS = {
    "PIL": "pillow", "skimage": "scikit-image", "huggingface_hub": "diffusers", "igl": "libigl", "pxr": "usd-core",
}  # fmt: skip
"Import names that differ from what pip installs; diffusers cannot work without the hub's client."


EXTRAS = {
    "batch/cluster.py": "cluster", "evaluate/comparison.py": "docs", "export/usd.py": "usd", "page": "app",
    "view": "view",
}  # fmt: skip
"Files and folders that need an extra, and say so when it is missing."


def declared(extra: str | None = None) -> set[str]:
    """Names of the required packages, without version ranges; with those of an extra."""
    requirements = list(PYPROJECT["project"]["dependencies"])
    requirements += PYPROJECT["project"]["optional-dependencies"][extra] if extra else []
    return {re.split(r"[<>=\[ ]", requirement)[0] for requirement in requirements}


def third_party(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also lazily inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names - sys.stdlib_module_names - {"dreamkit"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_declared(path: Path) -> None:
    missing = {DISTRIBUTIONS.get(name, name).replace("_", "-") for name in third_party(path)}
    place = path.relative_to(ROOT / "dreamkit")
    missing -= declared(EXTRAS.get(place.as_posix()) or EXTRAS.get(place.parts[0]))
    assert not missing, f"pyproject.toml does not require {sorted(missing)}"
