"""A cloud of Gaussians as raw numbers: what is initialised, optimised, saved and loaded (card representations 6.1)."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class GaussianCloud:
    """Raw parameters, before their activations. Scene units, glTF axes."""

    positions: Float[Tensor, "gaussians 3"]
    scales: Float[Tensor, "gaussians axes"]
    "Logarithms of the standard deviations along the local axes; surfels have two."
    rotations: Float[Tensor, "gaussians 4"]
    "Quaternions (w, x, y, z) of any length; surfels lie across their third axis."
    opacities: Float[Tensor, " gaussians"]
    "Logits of the peak alpha."
    colors: Float[Tensor, "gaussians coefficients channels"]
    "Raw material channels: a constant, then the higher harmonics of degree d, (d + 1)^2 in all."

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> "GaussianCloud":
        return replace(self, **{entry.name: getattr(self, entry.name)[rows] for entry in fields(self)})

    @property
    def degree(self) -> int:
        """Degree of the harmonics. Raises ValueError where the number of coefficients is not a square."""
        degree = int(self.colors.shape[1] ** 0.5) - 1
        if (degree + 1) ** 2 != self.colors.shape[1]:
            raise ValueError(f"harmonics of degree d have (d + 1)^2 coefficients; got {self.colors.shape[1]}")
        return degree

    def to(self, device: torch.device | str) -> "GaussianCloud":
        return replace(self, **{entry.name: getattr(self, entry.name).to(device) for entry in fields(self)})
