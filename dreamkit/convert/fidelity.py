"""How much of a scene a conversion kept: the student's pictures against the teacher's, from views it never saw."""

import math
from dataclasses import dataclass
from statistics import median

import torch

from dreamkit.cameras import Cameras, orbit
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering

SOLID = 0.95
"Depth is compared on rays that are more opaque than this in both."


@dataclass(frozen=True)
class Fidelity:
    """The checks that decide whether a conversion is good (card 0.1), against the teacher and not against a truth."""

    psnr: tuple[float, ...]
    "dB, for each held-out view, background included; infinite where nothing was lost."
    opacity_error: float
    "Mean absolute difference of the rays' opacities."
    depth_error: float
    "Median absolute difference of depths in scene units, on rays that are solid in both; NaN where there are none."
    seconds: float = 0.0
    "What the conversion took."

    @property
    def median_psnr(self) -> float:
        return median(self.psnr)

    @property
    def worst_psnr(self) -> float:
        return min(self.psnr)

    def entries(self) -> dict[str, object]:
        """For `metrics.json`; what JSON cannot say (infinity, NaN) is None."""
        numbers = {
            "convert_psnr_median": self.median_psnr,
            "convert_opacity_error": self.opacity_error,
            "convert_depth_error": self.depth_error,
            "convert_seconds": round(self.seconds, 3),
        }
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {**finite, "convert_psnr": [value if math.isfinite(value) else None for value in self.psnr]}


def judging_cameras(size: int = 64, distance: float = 2.5, fov: float = 40.0) -> Cameras:
    """Ten fixed views that no converter trains on: eight from 15 degrees above, one from high up, one from below."""
    azimuth = torch.tensor([*(45.0 * i + 22.5 for i in range(8)), 10.0, 190.0])
    elevation = torch.tensor([15.0] * 8 + [60.0, -45.0])
    return orbit(azimuth, elevation, distance, fov, size, size)


@torch.no_grad()
def compare(teacher: Scene, student: Scene, cameras: Cameras | None = None, seconds: float = 0.0) -> Fidelity:
    """Render both scenes in evaluation from `cameras` (`judging_cameras` by default) and compare.

    Both stand before the student's own background, so that backgrounds are not compared. `seconds` is passed on.
    """
    cameras = judging_cameras(distance=2.5 * student.shape.radius) if cameras is None else cameras
    device = next((p.device for p in student.parameters()), torch.device("cpu"))
    cameras = cameras.to(device)
    mine = student.render(cameras)
    theirs = Scene(teacher.shape, teacher.material, student.background, teacher.renderer).render(cameras)
    return difference(theirs, mine, seconds)


def difference(teacher: Rendering, student: Rendering, seconds: float = 0.0) -> Fidelity:
    """The same for renders that were made already."""
    squares = (teacher.color.double() - student.color.double()).square().mean(dim=(1, 2, 3)).tolist()
    psnr = tuple(math.inf if error == 0 else -10 * math.log10(error) for error in squares)
    solid = (teacher.alpha > SOLID) & (student.alpha > SOLID)
    depth = (teacher.depth - student.depth).abs()[solid]
    opacity = float((teacher.alpha - student.alpha).abs().mean())
    return Fidelity(psnr, opacity, float(depth.median()) if len(depth) else math.nan, seconds)
