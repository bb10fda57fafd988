"""The house rule that imports point down only, and that importing dreamkit costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dreamkit"

FLOORS = (
    {"vectors", "cameras", "rendering", "mesh", "schedules", "names", "construct", "device", "workers"},
    {"ops"},
    {"priors", "representations", "materials", "renderers"},
    {"guidance", "convert"},
    {"training", "export", "toybox", "evaluate"},
    {"recipe_file", "recipe", "source", "coarse", "generate", "conversion", "batch", "service"},
    {"report", "progress", "page", "view", "cli", "__main__"},
)
"Rooms from the ground up; a room imports from its own floor and those below."

WITHIN = {
    "priors": {"priors"},
    "representations": {"representations"},
    "materials": {"materials", "representations"},
    "renderers": {"renderers", "materials", "representations"},
}
"What the rooms of floor 2 may know of their neighbours."

FILES = sorted(PACKAGE.rglob("*.py"))


def floor_of(room: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in modules if name.startswith("dreamkit.") and "__" not in name}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for other in imported_rooms(path):
        assert floor_of(other) <= floor_of(room), f"{room} (floor {floor_of(room)}) imports {other} above it"
        if room in WITHIN and floor_of(other) == floor_of(room):
            assert other in WITHIN[room], f"{room} may not know {other}"


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms <= set().union(*FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_annotations_are_never_strings_only(path: Path) -> None:
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8"), "it switches shape checks off"


def test_kernels_are_never_a_python_package() -> None:
    """A package called `kernels` would shadow the one that diffusers imports."""
    assert not list((ROOT / "kernels").rglob("*.py"))


def test_importing_dreamkit_is_lazy() -> None:
    """`import dreamkit` loads neither torch nor anything that uses it."""
    code = "import sys, dreamkit; print([m for m in ('torch', 'diffusers', 'gradio', 'trimesh') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
