"""Surfaces from clouds of Gaussians: by their depth, not by their density."""

from dataclasses import dataclass
from typing import ClassVar

from dreamkit.convert.tsdf import Tsdf
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians


@dataclass(frozen=True)
class GaussiansToSurface(Tsdf):
    """`Tsdf`, which is what a cloud is converted by unless another is asked for.

    A cloud's density is a bumpy shell whose level nobody knows; its median depth is where its pictures show a surface.
    `by=ToSurface()` asks the density, for fuzzy clouds. Source: method card representations 6.9.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians,)
    rank: ClassVar[int] = -1
    "Before ToSurface, which reads every volume."
