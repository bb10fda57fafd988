"""A field learnt from pictures alone, as NeRF is: what PVD's speed is compared with."""

from collections.abc import Iterator

import torch

from dreamkit.convert.pvd import ALL_AROUND
from dreamkit.convert.samples import RayBundle, gather, look, shoot
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step


def learn_from_pictures(
    truth: Scene, student: Scene, views: int, steps: int, rays: int, seed: int, size: int = 64
) -> Iterator[Step]:
    """Adam on the mean squared error of random pixels of `views` pictures with transparency (NeRF, arXiv 2003.08934).

    The renderer's occupancy grid follows the student, as in any training. Rates are those of PVD, on the same cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    cameras = ALL_AROUND.sample(views, size, size, generator)
    with torch.no_grad():
        pictures = truth.render(cameras)
        opaque = pictures.color - (1 - pictures.alpha) * truth.background.color(cameras.rays().directions, None)
    color, alpha = opaque.reshape(-1, 3), pictures.alpha.reshape(-1, 1)
    origins, directions = (part.reshape(-1, 3) for part in (cameras.rays().origins, cameras.rays().directions))
    optimizer = torch.optim.Adam(student.shape.parameters(), lr=0.005, betas=(0.9, 0.99), eps=1e-15)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 0.005 * 0.007)
    for step in range(steps):
        student.update(step / steps, step, generator)
        index = torch.randint(len(origins), (rays,), generator=generator)
        behind = torch.rand(1, 3, generator=generator).expand(rays, 3)
        points = shoot(
            student, RayBundle(origins[index], directions[index], behind), torch.rand(rays, generator=generator)
        )
        seen = gather(points, look(student, points.position, points.direction))
        loss = (seen.color - color[index] - (1 - alpha[index]) * behind).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        yield Step(step + 1, steps, float(loss.detach()), stage="pictures")
