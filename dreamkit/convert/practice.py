"""What a student is shown: poses, rays and points, drawn at random."""

import torch
from torch import Tensor

from dreamkit.cameras import Cameras, OrbitSampler
from dreamkit.convert.samples import Pixels, RayBundle, RayPoints


class Practice:
    """Fresh poses all around the object, `poses` an epoch and one a step, and `rays` random pixels of each.

    Subclasses prefer what is hard; they learn it from `observe`.
    """

    def __init__(self, sampler: OrbitSampler, poses: int, size: int, rays: int, generator: torch.Generator) -> None:
        if min(poses, size, rays) < 1 or rays > size * size:
            raise ValueError(
                f"practice needs poses, size and rays of at least 1, and at most size^2 rays; "
                f"got poses={poses}, size={size}, rays={rays}"
            )
        self.sampler, self.poses, self.size, self.rays, self.generator = sampler, poses, size, rays, generator
        self.cameras: Cameras | None = None
        self.turn = 0

    def draw(self) -> RayBundle:
        """The rays of the next step, in front of one random colour."""
        if self.cameras is None or self.turn == len(self.cameras):
            self.cameras, self.turn = self.epoch(), 0
        rays = self.cameras[[self.turn]].rays()
        self.turn += 1
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        index = torch.randperm(len(origins), generator=self.generator)[: self.rays]
        behind = torch.rand(1, 3, generator=self.generator).expand(len(index), 3)
        return RayBundle(origins[index], directions[index], behind)

    def epoch(self) -> Cameras:
        """The poses of the next epoch."""
        return self.sampler.sample(self.poses, self.size, self.size, self.generator)

    def points(self, points: RayPoints, student: Pixels, teacher: Pixels) -> Tensor | None:
        """Indices of the points whose values are compared; None for all."""
        return None

    def observe(self, rays: RayBundle, student: Pixels, teacher: Pixels) -> None:
        """Hear how the student did on the rays of the last `draw`."""
