"""tiny-cuda-nn behind `hash_encode`; the contract is in hash_encode.py.

Its grid has our layout: levels one after the other, each rounded up to 8 entries, features innermost. It cannot
differentiate the gradient of the table, and it computes the scale of a level in float32.
"""

from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dreamkit.ops import _library
from dreamkit.ops.hash_levels import HashLevels


def fits(tinycudann: ModuleType, table: Tensor, levels: HashLevels, active: int) -> bool:
    """Whether its levels are as large as ours: where a scale is a whole number, rounding can add a row of vertices."""
    if not active:
        return False
    _, entries = _encoding(tinycudann, levels, active, str(table.device))
    return entries == levels.offsets[active]


def encode(tinycudann: ModuleType, points: Tensor, table: Tensor, levels: HashLevels, active: int) -> Tensor:
    """The encoding; only the active levels are looked up, and they are the front of the table."""
    encoding, _ = _encoding(tinycudann, levels, active, str(table.device))
    front = _OnceDifferentiable.apply(table[: levels.offsets[active]])
    assert isinstance(front, Tensor)
    found = torch.func.functional_call(encoding, {"params": front.reshape(-1)}, (points.clamp(0, 1),))
    # Beyond what was asked for, it may have padded the output.
    found = found[:, : active * levels.features]
    return nn.functional.pad(found, (0, levels.channels - found.shape[1]))


def configuration(levels: HashLevels, active: int) -> dict[str, Any]:
    """The first `active` levels, in its words."""
    return {
        "otype": "HashGrid",
        "n_levels": active,
        "n_features_per_level": levels.features,
        "log2_hashmap_size": levels.log2_table_size,
        "base_resolution": levels.base,
        "per_level_scale": levels.growth,
        "interpolation": "Smoothstep" if levels.smoothstep else "Linear",
    }


@lru_cache(maxsize=64)
def _encoding(tinycudann: ModuleType, levels: HashLevels, active: int, device: str) -> tuple[nn.Module, int]:
    """The module without its own parameters, and its number of entries."""
    with _library.on_device(torch.empty(0, device=device)):
        encoding = tinycudann.Encoding(3, configuration(levels, active), dtype=torch.float32)
    entries = encoding.params.numel() // levels.features
    encoding.params = nn.Parameter(encoding.params.new_empty(0))
    return encoding, entries


class _OnceDifferentiable(torch.autograd.Function):
    """The same tensor, whose gradient has no derivative: tiny-cuda-nn would leave that one out without a word."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
