"""How much an exported mesh looks like the render it was made from."""

from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.evaluate.metrics import psnr, silhouette_iou
from dreamkit.mesh import Mesh
from dreamkit.renderers.surface import render_surface
from dreamkit.rendering import Rendering

HELD_OUT_AZIMUTHS = tuple(45.0 * i + 22.5 for i in range(8))
"Halfway between the eight views that the level search and the texture use, so that the report is not their own praise."


@dataclass(frozen=True)
class Fidelity:
    """Agreement of a mesh with reference renders, view by view."""

    psnr: tuple[float, ...]
    "dB, over the whole image, background included."
    silhouette: tuple[float, ...]
    "Intersection over union of the opacities."

    @property
    def median_psnr(self) -> float:
        return median(self.psnr)

    @property
    def worst_psnr(self) -> float:
        return min(self.psnr)

    @property
    def median_silhouette(self) -> float:
        return median(self.silhouette)


def held_out_cameras(size: int = 128, distance: float = 2.5, fov: float = 40.0) -> Cameras:
    """Eight views from 15 degrees above, between the eight views at multiples of 45 degrees."""
    return orbit(HELD_OUT_AZIMUTHS, 15.0, distance, fov, size, size)


def measure_fidelity(
    mesh: Mesh, reference: Rendering, cameras: Cameras, background: Float[Tensor, "*image 3"]
) -> Fidelity:
    """Compare the mesh with a scene's `reference` renders from `cameras`.

    Both stand before `background`, the display colour (or images) that the reference was composited over. Raises
    ValueError when the reference does not have one image for each camera.
    """
    if len(reference.color) != len(cameras):
        raise ValueError(f"the report needs one reference image per camera; got {len(reference.color)} images and "
                         f"{len(cameras)} cameras")  # fmt: skip
    black = render_surface(mesh, cameras, torch.zeros_like(mesh.vertices[0]))
    color = black.color + (1 - black.alpha) * background
    pairs = list(zip(color, reference.color, black.alpha, reference.alpha, strict=True))
    return Fidelity(
        tuple(psnr(mine, theirs) for mine, theirs, _, _ in pairs),
        tuple(silhouette_iou(mine, theirs) for _, _, mine, theirs in pairs),
    )
