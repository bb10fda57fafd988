"""How every converter's student that is a field is optimised: Adam, two rates, a cosine."""

import math
from dataclasses import dataclass

import torch

from dreamkit.representations.base import AbstractShape


@dataclass(frozen=True)
class FieldRates:
    """Learning rates of a field's grids and of its networks, and the share of both that a cosine leaves at the end."""

    encoding: float = 0.02
    networks: float = 0.005
    final: float = 0.007

    def optimizer(self, shape: AbstractShape) -> torch.optim.Adam:
        """Adam over the shape's parameter groups, with the betas of PVD's code (card 1.5)."""
        groups = [
            {"params": list(group.parameters), "lr": self.encoding if group.name == "encoding" else self.networks}
            for group in shape.parameter_groups()
        ]
        return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15)

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        """`final + (1 - final) (1 + cos(pi k / steps)) / 2` of the rates at step k; call `step` after each."""

        def share(step: int) -> float:
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / steps))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
