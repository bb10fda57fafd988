"""A field from pictures of a scene of any kind, some random pixels a step: what NeRF does with photographs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import OrbitSampler
from dreamkit.convert.field_optimizer import FieldRates
from dreamkit.convert.pvd import ALL_AROUND
from dreamkit.convert.rendered_fit import scaled
from dreamkit.convert.samples import RayBundle, gather, look, shoot
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step

AT_ONCE = 8
"Pictures that are rendered in one go."


@dataclass(frozen=True)
class Pictures:
    """Pixels of posed pictures, one row each, without a background."""

    origins: Float[Tensor, "pixels 3"]
    directions: Float[Tensor, "pixels 3"]
    color: Float[Tensor, "pixels 3"]
    "Display colour, times the opacity."
    alpha: Float[Tensor, "pixels 1"]


@dataclass(frozen=True)
class PictureFit:
    """`L = mean |C - C*|^2` over random pixels of `views` pictures, before a random colour, so that opacity shows.

    A whole picture a step (`RenderedFit`) costs a field thousands of rays for what a few hundred teach as well. The
    student's occupancy grid follows it. Sources: NeRF (arXiv 2003.08934), card 1.9 step 4.
    """

    steps: int = 500
    views: int = 100
    size: int = 64
    rays: int = 512
    rates: FieldRates = field(default_factory=FieldRates)
    cameras: OrbitSampler = ALL_AROUND

    def __post_init__(self) -> None:
        if min(self.steps, self.views, self.size, self.rays) < 1:
            raise ValueError(
                f"a PictureFit needs steps, views, size and rays of at least 1; got steps={self.steps}, "
                f"views={self.views}, size={self.size}, rays={self.rays}"
            )

    def run(self, teacher: Scene, student: Scene, generator: torch.Generator) -> Iterator[Step]:
        """Optimise the student in place; it needs a renderer of fields."""
        pictures = self.take(teacher, generator)
        optimizer = self.rates.optimizer(student.shape)
        scheduler = self.rates.scheduler(optimizer, self.steps)
        student.train()
        for step in range(self.steps):
            student.update(step / self.steps, step, generator)
            loss = self.loss(pictures, student, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            yield Step(step + 1, self.steps, float(loss.detach()), stage="fit pictures")
        student.eval()

    @torch.no_grad()
    def take(self, teacher: Scene, generator: torch.Generator) -> Pictures:
        """Pictures of the teacher from all around."""
        cameras = scaled(self.cameras, teacher.shape.radius).sample(self.views, self.size, self.size, generator)
        color, alpha = [], []
        for first in range(0, self.views, AT_ONCE):
            some = cameras[list(range(first, min(first + AT_ONCE, self.views)))]
            seen = teacher.render(some)
            behind = teacher.background.color(some.rays().directions)
            color.append((seen.color - (1 - seen.alpha) * behind).reshape(-1, 3))
            alpha.append(seen.alpha.reshape(-1, 1))
        rays = cameras.rays()
        return Pictures(rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), torch.cat(color), torch.cat(alpha))

    def loss(self, pictures: Pictures, student: Scene, generator: torch.Generator) -> Float[Tensor, ""]:
        """The mean squared error of some pixels."""
        index = torch.randint(len(pictures.alpha), (self.rays,), generator=generator)
        behind = torch.rand(1, 3, generator=generator).expand(self.rays, 3)
        rays = RayBundle(pictures.origins[index], pictures.directions[index], behind)
        points = shoot(student, rays, torch.rand(self.rays, generator=generator))
        seen = gather(points, look(student, points.position, points.direction))
        truth = pictures.color[index] + (1 - pictures.alpha[index]) * behind
        return (seen.color - truth).square().mean()
