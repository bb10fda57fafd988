"""Lists of ray samples: leave some out, or place new ones where the light comes from."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.ops.march import PackedSamples


def keep(samples: PackedSamples, kept: Bool[Tensor, " samples"]) -> PackedSamples:
    """The samples where `kept` is true, with the offsets of the shorter list."""
    index = kept.nonzero().squeeze(-1)
    before = torch.nn.functional.pad(kept.cumsum(dim=0), (1, 0))
    return PackedSamples(samples.ray[index], samples.distance[index], samples.length[index], before[samples.offsets])


def resample(
    samples: PackedSamples,
    weights: Float[Tensor, " samples"],
    count: int,
    jitter: Float[Tensor, " rays"] | None = None,
) -> PackedSamples:
    """`count` touching intervals on each visible ray, holding equal shares of its weight.

    The weights are read as a piecewise constant density over the samples' intervals; its inverse distribution function
    at `(k + u) / (count + 1)`, k = 0..count, gives the edges, u = 1/2 or the ray's jitter (NeRF, arXiv 2003.08934,
    section 5.2, with intervals as in mip-NeRF 360, arXiv 2111.12077). Rays without weight get no samples.
    """
    total = torch.zeros(len(samples.offsets) - 1, dtype=weights.dtype, device=weights.device)
    total = total.index_add(0, samples.ray, weights)
    ray = (total > 1e-6).nonzero().squeeze(-1)
    share = (torch.full_like(total, 0.5) if jitter is None else jitter)[ray, None]
    k = torch.arange(count + 1, dtype=weights.dtype, device=weights.device)
    # Each ray's distribution is lifted by its own number, so that one sorted search serves all rays (in double
    # precision: the lifted numbers grow with the number of rays).
    cumulative = weights.double().cumsum(dim=0)
    start = torch.nn.functional.pad(cumulative, (1, 0))[samples.offsets[:-1]]
    inside = (cumulative - start[samples.ray]) / total.double()[samples.ray].clamp_min(1e-12)
    lifted = (inside.clamp(0, 1) + samples.ray).cummax(dim=0).values
    wanted = (k + share) / (count + 1)
    found = torch.searchsorted(lifted, (wanted.double() + ray[:, None]).contiguous())
    found = found.clamp(samples.offsets[ray, None], samples.offsets[ray + 1, None] - 1)
    below = inside[found] - weights.double()[found] / total.double()[ray, None]
    part = ((wanted - below) / (inside[found] - below).clamp_min(1e-12)).clamp(0, 1).to(weights)
    edge = samples.distance[found] + (part - 0.5) * samples.length[found]
    # Rounding may swap edges that fall together.
    edge = edge.cummax(dim=1).values
    middle, length = (edge[:, 1:] + edge[:, :-1]) / 2, edge[:, 1:] - edge[:, :-1]
    number = torch.zeros_like(samples.offsets[1:]).index_fill(0, ray, count)
    offsets = torch.nn.functional.pad(number.cumsum(dim=0), (1, 0))
    return PackedSamples(ray.repeat_interleave(count), middle.flatten(), length.flatten(), offsets)
