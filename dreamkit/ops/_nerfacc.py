"""nerfacc behind `march` and `composite`; the contracts are in march.py and composite.py.

nerfacc 0.5 cuts a ray into intervals of one length that start at its near plane, and asks the grid at their middles.
"""

from types import ModuleType

import torch
from torch import Tensor


def march(
    nerfacc: ModuleType,
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    start: Tensor,
    end: Tensor,
    share: Tensor,
    radius: float,
    step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rays, distances and offsets. Sample k stands at `start + (k + share) step`, as long as that is before `end`."""
    meets = end > start
    # Interval k has its middle at near + (k + 1/2) step. Rays without a part in the box get an interval that is none:
    # where nerfacc counts first and fills then, it does not look at `rays_mask`.
    near = torch.where(meets, start + (share - 0.5) * step, 1.0)
    far = torch.where(meets, end, 0.0)
    box = origins.new_tensor([[-radius] * 3 + [radius] * 3])
    _, samples, _ = nerfacc.traverse_grids(
        *(origins, directions, occupancy.unsqueeze(0), box), near_planes=near, far_planes=far, step_size=step
    )
    ray = samples.ray_indices.long()
    # nerfacc adds its steps up in float32; their number is certain, so the distance is computed afresh.
    k = ((samples.vals - start[ray]) / step - share[ray]).round()
    offsets = torch.nn.functional.pad(samples.packed_info[:, 1].long().cumsum(dim=0), (1, 0))
    return ray, start[ray] + (k + share[ray]) * step, offsets


def composite(
    nerfacc: ModuleType,
    density: Tensor,
    length: Tensor,
    values: Tensor,
    offsets: Tensor,
    distance: Tensor | None,
    stop: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Weights, accumulated values, alpha and depth."""
    rays = len(offsets) - 1
    count = offsets[1:] - offsets[:-1]
    packed = torch.stack([offsets[:-1], count], dim=-1)
    weights, through, _ = nerfacc.render_weight_from_density(
        torch.zeros_like(length), length, density, packed_info=packed
    )
    if stop > 0:
        weights = weights * ~(through < stop)
    ray = torch.repeat_interleave(torch.arange(rays, device=count.device), count)

    def gather(value: Tensor | None) -> Tensor:
        return nerfacc.accumulate_along_rays(weights, value, ray_indices=ray, n_rays=rays)

    depth = None if distance is None else gather(distance.unsqueeze(-1)).squeeze(-1)
    return weights, gather(values), gather(None).squeeze(-1), depth
