"""Fields from clouds of Gaussians: a rough start from their density, then their pictures."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dreamkit.convert.explicit_grid import Ask, answers
from dreamkit.convert.point_fit import KnownPoints, anywhere
from dreamkit.convert.to_field import AbstractToField
from dreamkit.convert.to_surface import base_color
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians

VISIBLE = 0.14
"Density (exp -2) from which a point has a colour to compare."


@dataclass(frozen=True)
class GaussiansToField(AbstractToField):
    """`PointFit` to the cloud as a volume, at `pool` points, half of them in the Gaussians; then `PictureFit`.

    The density that Gaussians answer for (card 1.9) is not the one that their splatting shows: it says where rays may
    skip, the pictures say the rest.
    Source: arXiv 2405.09717; method card representations 1.9, step 4.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians,)
    rank: ClassVar[int] = -1
    "Before PVD, which reads every volume."

    pool: int = 1 << 15

    def volume(self, teacher: Scene) -> Ask:
        """See `AbstractToField.volume`."""
        return answers(teacher)

    @torch.no_grad()
    def known(self, teacher: Scene, generator: torch.Generator) -> KnownPoints:
        """See `AbstractToField.known`."""
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
