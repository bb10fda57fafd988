"""What every renderer of fields is: a scene's parts and cameras in, images out."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground
from dreamkit.materials.base import AbstractMaterial
from dreamkit.rendering import Rendering


class AbstractRenderer(nn.Module, ABC):
    """Draws a shape. It owns no appearance, only what speeds drawing up; all of that lives in buffers."""

    @abstractmethod
    def render(
        self,
        shape: nn.Module,
        material: AbstractMaterial,
        background: AbstractBackground,
        cameras: Cameras,
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Images of all cameras. A generator means training: jitter, random lights and backgrounds, ray samples."""

    @abstractmethod
    def update(self, shape: nn.Module, progress: float, step: int, generator: torch.Generator) -> None:
        """Follow the shape's changes; called once before each training step, `step` counted from 0."""
