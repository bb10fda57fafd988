"""dreamkit: text to 3D by score distillation.

The public names are loaded when they are first used, so `import dreamkit` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamkit.cameras import Cameras, orbit
    from dreamkit.mesh import Mesh
    from dreamkit.recipe import Recipe, load_recipe
    from dreamkit.renderers.scene import Scene
    from dreamkit.rendering import Rendering, Step

__version__ = "0.1.0"

_HOMES = {
    "Cameras": "cameras",
    "orbit": "cameras",
    "Mesh": "mesh",
    "Rendering": "rendering",
    "Step": "rendering",
    "Scene": "renderers.scene",
    "Recipe": "recipe",
    "load_recipe": "recipe",
}

__all__ = [
    "Cameras",
    "Mesh",
    "Recipe",
    "Rendering",
    "Scene",
    "Step",
    "load_recipe",
    "orbit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dreamkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dreamkit.{_HOMES[name]}"), name)
