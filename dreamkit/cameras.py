"""Cameras, rays and the samplers that place cameras around an object.

The one page on axes (glTF's): right-handed, +Y up, the asset's front faces +Z. A camera looks down its
own -Z, with +X to its right and +Y up. Azimuth 0 looks at the front, and grows counter-clockwise seen
from above: azimuth 90 stands at +X. Angles are in degrees. Pixel (0, 0) is the top-left corner, and a ray
goes through the middle of its pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.vectors import normalize


@dataclass(frozen=True)
class Rays:
    """Half-lines `origin + distance * direction`, one for each pixel."""

    origins: Float[Tensor, "*pixels 3"]
    directions: Float[Tensor, "*pixels 3"]
    "Unit length, from the camera into the scene."


@dataclass(frozen=True)
class Cameras:
    """A batch of pinhole cameras that share one image size."""

    pose: Float[Tensor, "batch 4 4"]
    "Camera to world. Columns: right, up, backwards (away from the scene), position."
    fov: Float[Tensor, " batch"]
    "Vertical field of view, in degrees."
    height: int
    width: int
    group: int = 1
    "Views come in groups of this many that a multi-view prior sees together, with one noise level."

    def __len__(self) -> int:
        return self.pose.shape[0]

    def __getitem__(self, index: slice | Sequence[int] | Int[Tensor, " selected"]) -> "Cameras":
        return replace(self, pose=self.pose[index], fov=self.fov[index])

    def joined(self, other: "Cameras") -> "Cameras":
        """These views, then those, on this raster."""
        return replace(self, pose=torch.cat([self.pose, other.pose]), fov=torch.cat([self.fov, other.fov]))

    @property
    def position(self) -> Float[Tensor, "batch 3"]:
        return self.pose[:, :3, 3]

    @property
    def distance(self) -> Float[Tensor, " batch"]:
        """Distance of the camera from the world's origin."""
        return self.position.norm(dim=-1)

    @property
    def elevation(self) -> Float[Tensor, " batch"]:
        """Degrees above the horizon, seen from the world's origin."""
        return torch.rad2deg(torch.asin((self.position[:, 1] / self.distance).clamp(-1, 1)))

    @property
    def azimuth(self) -> Float[Tensor, " batch"]:
        """Degrees in (-180, 180]; 0 is in front (+Z), 90 at +X."""
        return torch.rad2deg(torch.atan2(self.position[:, 0], self.position[:, 2]))

    def resized(self, height: int, width: int) -> "Cameras":
        """The same views on another raster."""
        return replace(self, height=height, width=width)

    def to(self, device: torch.device | str) -> "Cameras":
        return replace(self, pose=self.pose.to(device), fov=self.fov.to(device))

    def rays(self) -> Rays:
        """One ray through the middle of each pixel; shapes `batch height width 3`."""
        dtype, device = self.pose.dtype, self.pose.device
        tangent = torch.tan(torch.deg2rad(self.fov) / 2)
        x = (torch.arange(self.width, dtype=dtype, device=device) + 0.5) * 2 - self.width
        y = self.height - (torch.arange(self.height, dtype=dtype, device=device) + 0.5) * 2
        plane_y, plane_x = torch.meshgrid(y / self.height, x / self.height, indexing="ij")
        scaled = torch.stack([plane_x, plane_y], dim=-1) * tangent[:, None, None, None]
        local = torch.cat([scaled, -torch.ones_like(scaled[..., :1])], dim=-1)
        directions = torch.einsum("bij,bhwj->bhwi", self.pose[:, :3, :3], local)
        origins = self.position[:, None, None, :].expand_as(directions)
        return Rays(origins, normalize(directions))

    def project(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "batch points 3"]:
        """Pixel coordinates (x right, y down) and depth along the view axis; a pixel's middle is at +0.5."""
        local = torch.einsum("bji,bpj->bpi", self.pose[:, :3, :3], points - self.position[:, None, :])
        depth = -local[..., 2]
        # A point in the camera's own plane has no image; a division by zero would make NaN of its zero gradient.
        divisor = torch.where(depth.abs() < 1e-12, torch.full_like(depth, 1e-12), depth)
        focal = 0.5 * self.height / torch.tan(torch.deg2rad(self.fov) / 2)[:, None]
        x = 0.5 * self.width + focal * local[..., 0] / divisor
        y = 0.5 * self.height - focal * local[..., 1] / divisor
        return torch.stack([x, y, depth], dim=-1)


def look_at(
    position: Float[Tensor, "batch 3"], target: Float[Tensor, "batch 3"], up: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 4 4"]:
    """Camera-to-world matrices of cameras at `position` that look at `target`."""
    back = normalize(position - target)
    # Straight above or below, `up` and the view axis are parallel; -Z is then the way that "up" points on the image.
    parallel = torch.linalg.cross(up, back).norm(dim=-1, keepdim=True) < 1e-6
    up = torch.where(parallel, torch.tensor([0.0, 0.0, -1.0], dtype=up.dtype, device=up.device), up)
    right = normalize(torch.linalg.cross(up, back))
    columns = torch.stack([right, torch.linalg.cross(back, right), back, position], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=position.dtype, device=position.device)
    return torch.cat([columns, bottom.expand(len(position), 1, 4)], dim=1)


def turned(cameras: Cameras, angles: Float[Tensor, "batch 3"]) -> Cameras:
    """Each camera turned in place, `R <- R Rx(pitch) Ry(yaw) Rz(roll)` about its own axes; `angles` in radians."""
    # exp of the cross-product matrix of one axis is the rotation about it.
    axes = torch.linalg.cross(torch.eye(3)[:, None], torch.eye(3)[None]).to(cameras.pose).mT
    x, y, z = (torch.linalg.matrix_exp(angles[:, i, None, None].to(cameras.pose) * axes[i]) for i in range(3))
    pose = cameras.pose.clone()
    pose[:, :3, :3] = pose[:, :3, :3] @ x @ y @ z
    return replace(cameras, pose=pose)


def orbit(
    azimuth: Sequence[float] | Float[Tensor, " batch"],
    elevation: float | Float[Tensor, " batch"] = 0.0,
    distance: float | Float[Tensor, " batch"] = 2.5,
    fov: float | Float[Tensor, " batch"] = 40.0,
    height: int = 64,
    width: int = 64,
) -> Cameras:
    """Cameras around the origin that look at it: `d (cos e sin a, sin e, cos e cos a)`; degrees."""
    azimuth = torch.as_tensor(azimuth, dtype=torch.get_default_dtype())
    elevation, distance, fov = (
        torch.as_tensor(value, dtype=azimuth.dtype, device=azimuth.device).expand(azimuth.shape)
        for value in (elevation, distance, fov)
    )
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    direction = torch.stack([torch.cos(e) * torch.sin(a), torch.sin(e), torch.cos(e) * torch.cos(a)], dim=-1)
    position = direction * distance[:, None]
    up = torch.tensor([0.0, 1.0, 0.0], dtype=azimuth.dtype, device=azimuth.device).expand_as(position)
    return Cameras(look_at(position, torch.zeros_like(position), up), fov, height, width)


@dataclass(frozen=True)
class OrbitSampler:
    """Random cameras around the object, one azimuth in each of `batch` equal sectors (method card 14.5)."""

    elevation: tuple[float, float] = (-10.0, 45.0)
    distance: tuple[float, float] = (2.2, 2.8)
    fov: tuple[float, float] = (38.0, 42.0)
    azimuth: tuple[float, float] = (-180.0, 180.0)
    stratified: bool = True
    "One view in each sector of the azimuth range, instead of independent views."
    sphere_uniform: float = 0.5
    "Share of views whose elevation is uniform on the sphere rather than in degrees."
    jitter_position: float = 0.0
    jitter_target: float = 0.0
    jitter_up: float = 0.0
    "Jitters: half-width of a uniform shift of the position; standard deviations of the target and of the up vector."

    def sample(self, batch: int, height: int, width: int, generator: torch.Generator) -> Cameras:
        """`batch` cameras with images of `height` by `width`; every draw comes from `generator`."""
        draw = torch.rand(batch, 5, generator=generator)
        shift = torch.randn(batch, 2, 3, generator=generator) * torch.tensor([[self.jitter_target], [self.jitter_up]])
        sector = (torch.arange(batch) + draw[:, 0]) / batch if self.stratified else draw[:, 0]
        azimuth = _between(self.azimuth, sector)
        cameras = orbit(
            azimuth, self._elevation(draw), _between(self.distance, draw[:, 3]), _between(self.fov, draw[:, 4])
        )
        wobble = (torch.rand(batch, 3, generator=generator) * 2 - 1) * self.jitter_position
        up = torch.tensor([0.0, 1.0, 0.0]) + shift[:, 1]
        pose = look_at(cameras.position + wobble, shift[:, 0], up)
        return replace(cameras, pose=pose, height=height, width=width)

    def _elevation(self, draw: Float[Tensor, "batch 5"]) -> Float[Tensor, " batch"]:
        low, high = torch.sin(torch.deg2rad(torch.tensor(self.elevation)))
        on_sphere = torch.rad2deg(torch.asin(low + (high - low) * draw[:, 1]))
        return torch.where(draw[:, 2] < self.sphere_uniform, on_sphere, _between(self.elevation, draw[:, 1]))


def _between(limits: tuple[float, float], share: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return limits[0] + (limits[1] - limits[0]) * share
