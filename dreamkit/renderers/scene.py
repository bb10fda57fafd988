"""A scene: a shape, how its surface looks, what is behind it, and the renderer that fits them."""

import torch
from torch import nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground, Solid
from dreamkit.materials.base import AbstractMaterial
from dreamkit.materials.unlit import Unlit
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.rendering import Rendering
from dreamkit.representations.base import AbstractShape, ParameterGroup, Rearrangement


class Scene(nn.Module):
    """What score distillation optimises, and what becomes an asset.

    Everything that changes over a run is a parameter or a buffer, so `state_dict()` continues it to the last bit.
    Raises ValueError when the shape's channels do not fit the material.
    """

    def __init__(
        self,
        shape: AbstractShape,
        material: AbstractMaterial | None = None,
        background: AbstractBackground | None = None,
        renderer: AbstractRenderer | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.material = Unlit() if material is None else material
        self.background = Solid() if background is None else background
        self.renderer = VolumeRenderer() if renderer is None else renderer
        if shape.channels != self.material.channels:
            raise ValueError(
                f"{type(self.material).__name__} reads {self.material.channels} channels, but the shape has "
                f"{shape.channels}; construct the shape with channels={self.material.channels}"
            )

    def render(
        self,
        cameras: Cameras,
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Images of all cameras at `progress`, the share of the run that is done.

        With a generator this is training: jittered samples, random lights and backgrounds, all drawn from it, and ray
        samples for the regularisers. Without one it is evaluation: deterministic, and the base colour without light.
        """
        return self.renderer.render(
            self.shape,
            self.material,
            self.background,
            cameras,
            progress=progress,
            generator=generator,
            normals=normals,
        )

    def update(self, progress: float, step: int, generator: torch.Generator) -> None:
        """Call once before each training step, with steps counted from 0: the renderer follows the shape."""
        self.renderer.update(self.shape, progress, step, generator)

    def adapt(
        self, rendering: Rendering, step: int, progress: float, generator: torch.Generator
    ) -> tuple[Rearrangement, ...]:
        """Call once after each training step: see `AbstractShape.adapt`."""
        return self.shape.adapt(rendering, step, progress, generator)

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The shape's groups, the material among "networks", and "background"; each parameter exactly once."""
        groups = {group.name: group.parameters for group in self.shape.parameter_groups()}
        groups["networks"] = (*groups.get("networks", ()), *self.material.parameters())
        groups["background"] = tuple(self.background.parameters())
        return tuple(ParameterGroup(name, parameters) for name, parameters in groups.items() if parameters)
