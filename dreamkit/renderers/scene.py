"""A scene: a shape, how its surface looks, what is behind it, and the renderer that fits them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from dreamkit.cameras import Cameras
from dreamkit.materials.backgrounds import AbstractBackground, Solid
from dreamkit.materials.base import AbstractMaterial
from dreamkit.materials.unlit import Unlit
from dreamkit.renderers.base import AbstractRenderer
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.rendering import Rendering
from dreamkit.representations.base import AbstractField


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    name: str
    parameters: tuple[nn.Parameter, ...]


class Scene(nn.Module):
    """What score distillation optimises, and what becomes an asset.

    Everything that changes over a run is a parameter or a buffer, so `state_dict()` continues it to the last bit.
    Raises ValueError when the shape's channels do not fit the material.
    """

    def __init__(
        self,
        shape: AbstractField,
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

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The parameters as "encoding", "networks" and "background", each exactly once; empty groups are left out."""
        groups = (
            _group("encoding", self.shape.encoding_parameters()),
            _group("networks", chain(self.shape.network_parameters(), self.material.parameters())),
            _group("background", self.background.parameters()),
        )
        return tuple(group for group in groups if group.parameters)


def _group(name: str, parameters: Iterator[nn.Parameter]) -> ParameterGroup:
    return ParameterGroup(name, tuple(parameters))
