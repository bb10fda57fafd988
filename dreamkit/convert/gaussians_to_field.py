"""Fields from clouds of Gaussians: a rough start from their density, then their pictures."""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.explicit_grid import answers, fill
from dreamkit.convert.fidelity import compare
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.point_fit import KnownPoints, PointFit, anywhere
from dreamkit.convert.to_surface import base_color
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField, AbstractShape
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.voxel_field import VoxelField

VISIBLE = 0.14
"Density (exp -2) from which a point has a colour to compare."


@dataclass(frozen=True)
class GaussiansToField(AbstractConverter):
    """`PointFit` to the cloud as a volume, at `pool` points, half of them in the Gaussians; then `PictureFit`.

    The density that Gaussians answer for (card 1.9) is not the one that their splatting shows: it says where rays may
    skip, the pictures say the rest. An explicit grid is set to it at its vertices, without a fit.
    Source: arXiv 2405.09717; method card representations 1.9, step 4.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians,)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)
    rank: ClassVar[int] = -1
    "Before PVD, which reads every volume."

    pool: int = 1 << 15
    start: PointFit = field(default_factory=PointFit)
    fit: PictureFit = field(default_factory=PictureFit)

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`; also needs a student with a renderer of fields."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        if isinstance(student.shape, VoxelField):
            assert isinstance(teacher.shape, Gaussians)
            fill(student.shape, answers(teacher.shape))
        else:
            yield from self.start.run(self._known(teacher, generator), student, generator)
        yield from self.fit.run(teacher, student, generator)
        return compare(teacher, student, seconds=time.perf_counter() - start)

    @torch.no_grad()
    def _known(self, teacher: Scene, generator: torch.Generator) -> KnownPoints:
        cloud = teacher.shape
        assert isinstance(cloud, Gaussians)
        half = self.pool // 2
        pick = torch.randint(len(cloud.positions), (half,), generator=generator)
        spread = 1.5 * cloud.deviations[pick].amax(dim=-1, keepdim=True)
        inside = cloud.positions[pick] + torch.randn(half, 3, generator=generator) * spread
        points = torch.cat([inside, anywhere(self.pool - half, cloud.radius, generator)]).clamp(
            -cloud.radius, cloud.radius
        )
        density = cloud.density(points)
        near = density > VISIBLE
        color = torch.zeros_like(points)
        color[near] = base_color(teacher, points[near])
        return KnownPoints(points, density, near, color)
