"""Fixed-step ray marching through an occupancy grid: where along each ray the field is worth asking."""

from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dreamkit.ops import _library, _nerfacc


@dataclass(frozen=True)
class PackedSamples:
    """Samples of all rays, one ray after the other: ray `r` has `offsets[r]` to `offsets[r + 1]`, nearest first."""

    ray: Int[Tensor, " samples"]
    "Index of the sample's ray; non-decreasing."
    distance: Float[Tensor, " samples"]
    "Where the field is evaluated, in units of the ray's direction from its origin."
    length: Float[Tensor, " samples"]
    "Length of the piece of ray that the sample stands for."
    offsets: Int[Tensor, " rays_and_one"]


def march_reference(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    occupancy: Bool[Tensor, "grid grid grid"],
    radius: float,
    near: float,
    far: float,
    step: float,
    jitter: Float[Tensor, " rays"] | None = None,
) -> PackedSamples:
    """The samples of `march` in plain torch: every step of every ray, then a mask."""
    start, end = _clip(origins, directions, radius, near, far)
    # NaN compares false: a ray that has one gets no samples.
    steps = torch.where(end > start, ((end - start) / step).ceil() + 1, 0)
    most = int(steps.max().item()) if len(steps) else 0
    share = torch.full_like(start, 0.5) if jitter is None else jitter
    k = torch.arange(most, dtype=start.dtype, device=start.device)
    distance = start.unsqueeze(1) + (k + share.unsqueeze(1)) * step
    inside = (k < steps.unsqueeze(1)) & (distance < end.unsqueeze(1))
    ray, distance = inside.nonzero()[:, 0], distance[inside]
    keep = _occupied(origins[ray] + distance.unsqueeze(1) * directions[ray], occupancy, radius)
    ray, distance = ray[keep], distance[keep]
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=start.device)
    offsets[1:] = torch.bincount(ray, minlength=len(origins)).cumsum(dim=0)
    return PackedSamples(ray, distance, torch.full_like(distance, step), offsets)


def _clip(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radius: float, near: float, far: float
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Distances at which each ray enters and leaves both the cube and the range [near, far]."""
    a, b = (-radius - origins) / directions, (radius - origins) / directions
    enter, leave = torch.minimum(a, b), torch.maximum(a, b)
    # A ray parallel to a pair of faces is between them or not, whatever the distance; 0 / 0 must not decide.
    parallel = directions == 0
    between = origins.abs() <= radius
    enter = torch.where(parallel, torch.where(between, -torch.inf, torch.inf), enter)
    leave = torch.where(parallel, torch.where(between, torch.inf, -torch.inf), leave)
    return enter.amax(dim=-1).clamp_min(near), leave.amin(dim=-1).clamp_max(far)


def _occupied(
    point: Float[Tensor, "samples 3"], occupancy: Bool[Tensor, "grid grid grid"], radius: float
) -> Bool[Tensor, " samples"]:
    grid = len(occupancy)
    cell = ((point + radius) * (grid / (2 * radius))).floor().clamp(0, grid - 1).long()
    return occupancy[cell[:, 0], cell[:, 1], cell[:, 2]]


def march(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    occupancy: Bool[Tensor, "grid grid grid"],
    radius: float,
    near: float,
    far: float,
    step: float,
    jitter: Float[Tensor, " rays"] | None = None,
) -> PackedSamples:
    """Sample each ray at a fixed step inside the cube [-radius, radius]^3, in occupied cells only.

    Sample k lies at `t_k = t0 + (k + jitter) step` as long as `t_k < t1`, where [t0, t1] is the part of the ray in both
    the cube and [near, far]. It stands for a length of `step`: with jitter uniform on [0, 1) that is an unbiased
    quadrature. No jitter means 0.5, the middle. `occupancy[x, y, z]` is the cell that holds
    `-radius + (index + [0, 1)) 2 radius / grid`. Source: nerfacc's occupancy marching (arXiv 2305.04966; card 5.5).

    Not differentiable, deterministic, and equal to the reference to the bit; nerfacc, where it is used on CUDA, decides
    differently about samples on the border of a cell. Directions should have unit length, else
    distances are in units of theirs. A ray with NaN gets no samples. Raises `ValueError` where shapes, types or limits
    do not fit.
    """
    _validate(origins, directions, occupancy, jitter)
    if not (0 < radius < torch.inf and 0 < step < torch.inf and 0 <= near < torch.inf and near <= far < torch.inf):
        raise ValueError(
            f"march: radius={radius}, near={near}, far={far}, step={step}; expected finite numbers with radius > 0, "
            "step > 0 and 0 <= near <= far"
        )
    origins, directions = origins.detach().contiguous(), directions.detach().contiguous()
    nerfacc = _library.library("march", origins)
    if nerfacc is not None and len(origins):
        return _by_nerfacc(nerfacc, origins, directions, occupancy, radius, near, far, step, jitter)
    if not _library.runs_native("march", origins.device):
        return march_reference(origins, directions, occupancy, radius, near, far, step, jitter)
    jitter = None if jitter is None else jitter.detach().contiguous()
    ray, distance, offsets = _march(origins, directions, occupancy.contiguous(), jitter, radius, near, far, step)
    return PackedSamples(ray, distance, torch.full_like(distance, step), offsets)


def _by_nerfacc(
    nerfacc: ModuleType,
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    radius: float,
    near: float,
    far: float,
    step: float,
    jitter: Tensor | None,
) -> PackedSamples:
    start, end = _clip(origins, directions, radius, near, far)
    share = torch.full_like(start, 0.5) if jitter is None else jitter
    place = origins, directions, occupancy, start, end, share
    ray, distance, offsets = _nerfacc.march(nerfacc, *place, radius, step)
    return PackedSamples(ray, distance, torch.full_like(distance, step), offsets)


def _validate(origins: Tensor, directions: Tensor, occupancy: Tensor, jitter: Tensor | None) -> None:
    if origins.ndim != 2 or origins.shape[1] != 3 or directions.shape != origins.shape:
        raise ValueError(
            f"march: origins have shape {tuple(origins.shape)} and directions {tuple(directions.shape)}; "
            "expected (rays, 3) for both"
        )
    if occupancy.ndim != 3 or len(set(occupancy.shape)) != 1 or occupancy.dtype != torch.bool or not len(occupancy):
        raise ValueError(
            f"march: occupancy is {occupancy.dtype} of shape {tuple(occupancy.shape)}; expected bool (grid, grid, grid)"
        )
    if jitter is not None and jitter.shape != origins.shape[:1]:
        raise ValueError(f"march: jitter has shape {tuple(jitter.shape)}; expected one number a ray, {len(origins)}")
    reals = [origins, directions] if jitter is None else [origins, directions, jitter]
    if {tensor.dtype for tensor in reals} not in ({torch.float32}, {torch.float64}):
        raise ValueError(f"march: got {[str(tensor.dtype) for tensor in reals]}; expected all float32 or all float64")
    if len({tensor.device for tensor in [*reals, occupancy]}) != 1:
        raise ValueError("march: rays, jitter and occupancy are on different devices; move them to one")


@torch.library.custom_op("dreamkit::march", mutates_args=())
def _march(
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    jitter: Tensor | None,
    radius: float,
    near: float,
    far: float,
    step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    native = _library.kernels()
    rays = (origins, directions, occupancy, jitter, native.Box(radius, near, far, step))
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    count = torch.empty_like(offsets[1:])
    with _library.on_device(origins):
        native.march_count(*rays, count, *_library.launch(origins))
        torch.cumsum(count, dim=0, out=offsets[1:])
        samples = int(offsets[-1].item())
        ray, distance = count.new_empty(samples), origins.new_empty(samples)
        native.march_fill(*rays, offsets, ray, distance, *_library.launch(origins))
    return ray, distance, offsets


@_march.register_fake
def _(
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    jitter: Tensor | None,
    radius: float,
    near: float,
    far: float,
    step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    samples = torch.library.get_ctx().new_dynamic_size()
    ray = origins.new_empty(samples, dtype=torch.int64)
    return ray, origins.new_empty(samples), origins.new_empty(origins.shape[0] + 1, dtype=torch.int64)
