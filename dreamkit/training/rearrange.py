"""An optimiser whose parameters have gained, lost or swapped rows."""

import torch

from dreamkit.representations.base import Rearrangement


def rearrange(optimizer: torch.optim.Optimizer, change: Rearrangement) -> None:
    """Move the rows of the optimiser's moments with those of its parameters; rows without a past start from zero.

    A parameter that the optimiser has not stepped yet has no moments, and stays so. Single numbers (Adam's step count)
    belong to the parameter as a whole and stay.
    """
    for parameter in change.parameters:
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor) and value.ndim:
                moved = value[change.source.clamp_min(0)]
                moved[change.source < 0] = 0
                optimizer.state[parameter][name] = moved
