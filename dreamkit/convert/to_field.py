"""Fields from what is no field: a start from densities and colours at points, then the teacher's pictures."""

import time
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.explicit_grid import Ask, fill
from dreamkit.convert.fidelity import compare
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.point_fit import KnownPoints, PointFit
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField, AbstractShape
from dreamkit.representations.voxel_field import VoxelField


@dataclass(frozen=True)
class AbstractToField(AbstractConverter):
    """`PointFit` to `pool` points that are asked once, then `PictureFit`.

    An explicit grid is set to the teacher at its vertices instead: random points reach a tenth of them, and the rest
    would stay fog.
    """

    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)

    pool: int = 1 << 16
    start: PointFit = field(default_factory=PointFit)
    fit: PictureFit = field(default_factory=PictureFit)
    grid_rate: float = 0.05
    "Learning rate of an explicit grid, instead of the fit's: few rays touch each entry."

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`; also needs a student with a renderer of fields."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        if isinstance(student.shape, VoxelField):
            fill(student.shape, self.volume(teacher))
            fit = replace(self.fit, rates=replace(self.fit.rates, encoding=self.grid_rate))
        else:
            yield from self.start.run(self.known(teacher, generator), student, generator)
            fit = self.fit
        yield from fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    @abstractmethod
    def known(self, teacher: Scene, generator: torch.Generator) -> KnownPoints:
        """`pool` points, half of them where there is something, and what the teacher says there."""

    @abstractmethod
    def volume(self, teacher: Scene) -> Ask:
        """The teacher as densities and channels at any points."""
