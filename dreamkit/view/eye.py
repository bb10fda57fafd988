"""A browser's camera as ours, and what the scene looks like from it."""

import numpy as np
import torch

from dreamkit.cameras import Cameras
from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.renderers.scene import Scene

_FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"viser's cameras look along +Z with +Y down; ours look along -Z with +Y up (`dreamkit/cameras.py`)."


def browser_camera(wxyz: np.ndarray, position: np.ndarray, fov: float, height: int, width: int) -> Cameras:
    """One camera; `wxyz` is the camera-to-world quaternion, `fov` the vertical field of view in radians."""
    turn = rotation_matrices(torch.as_tensor(wxyz, dtype=torch.float32)[None])[0] @ _FLIP
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, torch.as_tensor(position, dtype=torch.float32)
    return Cameras(pose[None], torch.rad2deg(torch.tensor([fov], dtype=torch.float32)), height, width)


def raster(height: int, width: int, largest: int) -> tuple[int, int]:
    """The size of a picture of the window's shape whose longer side has `largest` pixels, or the window's own."""
    scale = min(1.0, largest / max(height, width, 1))
    return max(round(height * scale), 8), max(round(width * scale), 8)


@torch.no_grad()
def picture(scene: Scene, camera: Cameras, progress: float) -> np.ndarray:
    """`height width 3` bytes of what the scene looks like; grey where its numbers are not finite."""
    device = next((parameter.device for parameter in scene.parameters()), torch.device("cpu"))
    color = scene.render(camera.to(device), progress=progress).color[0].cpu()
    return (color.nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
