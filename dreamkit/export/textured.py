"""The whole way from a field to a textured mesh that looks like its renders."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.export.bake import Color, bake, composite_inwards
from dreamkit.export.clean import clean_surface
from dreamkit.export.isosurface import Density, extract_surface, sample_density
from dreamkit.export.level import find_level
from dreamkit.export.refine import refine_texture
from dreamkit.export.unwrap import unwrap
from dreamkit.mesh import Mesh
from dreamkit.rendering import Rendering


@dataclass(frozen=True)
class MeshPlan:
    """What mesh to make of a field."""

    faces: int = 20_000
    texture: int = 1024
    "Side of the texture, in texels."
    grid: int = 128
    "Cells of the fine density grid along its longest side."
    level: float | None = None
    "Iso-level; left out, the level whose mesh looks most like the views."
    radius: float = 1.0
    refine: bool = True
    "Correct the texture by the views; without it the texture is what the field says."


def survey_cameras(size: int = 128, distance: float = 2.5, fov: float = 40.0) -> Cameras:
    """Twelve views that see all of an object: eight around it, two from high above and two from below."""
    azimuth = [45.0 * i for i in range(8)] + [0.0, 180.0, 90.0, 270.0]
    elevation = torch.tensor([15.0] * 8 + [60.0] * 2 + [-30.0] * 2)
    return orbit(azimuth, elevation, distance, fov, size, size)


def textured_mesh(
    density: Density,
    color: Color,
    views: Rendering,
    cameras: Cameras,
    background: Float[Tensor, "3"],
    plan: MeshPlan = MeshPlan(),  # noqa: B008, frozen
) -> Mesh:
    """An unlit textured mesh of a field (card rep 8.9).

    `views` are renders of the field from `cameras` (see `survey_cameras`) over the display colour `background`; they
    choose the level and correct the texture. Raises EmptySurface.
    """
    half = torch.full((3,), plan.radius)
    level = plan.level
    if level is None:
        level = find_level(sample_density(density, -half, half, 48), views, cameras, background).density
    surface = extract_surface(density, level, plan.radius, fine=plan.grid)
    charted = unwrap(clean_surface(surface, plan.faces), plan.texture)
    baked = bake(charted, composite_inwards(density, color), plan.texture)
    return refine_texture(baked, views, cameras, background) if plan.refine else baked
