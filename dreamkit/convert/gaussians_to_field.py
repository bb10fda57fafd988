"""Fields from clouds of Gaussians, taught by renders alone."""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.rendered_fit import RenderedFit
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField, AbstractShape
from dreamkit.representations.gaussians import Gaussians


@dataclass(frozen=True)
class GaussiansToField(AbstractConverter):
    """A fit of renders from nothing: what a NeRF does with photographs, with as many views as it likes.

    Gaussians answer for a density too (card 1.9), but it is not the one that their splatting shows, so fields are not
    compared with it point by point; that way is there by name, `by=PVD()`. Source: arXiv 2405.09717; method card
    representations 1.9, step 4.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)
    rank: ClassVar[int] = -1
    "Before PVD, which reads every volume."

    fit: RenderedFit = field(default_factory=lambda: RenderedFit(steps=500, normal=0.0))

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`."""
        self.check(teacher, student)
        start = time.perf_counter()
        teacher.eval()
        yield from self.fit.run(teacher, student, torch.Generator().manual_seed(seed))
        return compare(teacher, student, seconds=time.perf_counter() - start)
