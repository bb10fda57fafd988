"""Several scenes of any kinds in one space, as a teacher that exists only in formulas."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.convert.samples import look, volume
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField

NOTHING = 1e-12
"Density below which a point has no colour of its own."
PALEST = 1e-4
"Colours are kept this far from 0 and 1, where a sigmoid never arrives."


@dataclass(frozen=True)
class Placement:
    """`M(x) = scale R x + shift`: where a scene stands in the fused one; R turns about +Y by `turn` degrees."""

    scale: float = 1.0
    turn: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"a placement needs scale > 0; got {self.scale}")

    def inverse(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """`M^-1(x) = R^T (x - shift) / scale`."""
        c, s = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        rotation = points.new_tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        return (points - points.new_tensor(self.shift)) @ rotation / self.scale


class FusedField(AbstractField):
    """`sigma = sum_k sigma_k(M_k^-1 x) / s_k`, `c = sum_k sigma_k c_k / sum_k sigma_k`: a virtual teacher (card 1.8).

    Densities are divided by the scale, so that opacities are kept. Its features are what a sigmoid turns into c, so it
    stands in a scene with `Unlit` (its lights are those of the parts). Raises ValueError without parts. The parts are
    only read: their parameters are not this field's.
    """

    def __init__(self, parts: list[tuple[Scene, Placement]], radius: float = 1.0) -> None:
        super().__init__()
        if not parts:
            raise ValueError("a FusedField needs at least one scene")
        self.radius, self.channels = radius, 3
        self.parts = tuple(parts)

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """`(sigma, logit c)`."""
        densities, colors = zip(*(self._part(scene, place, points) for scene, place in self.parts), strict=True)
        density, color = torch.stack(densities), torch.stack(colors)
        total = density.sum(dim=0)
        mixed = (density[..., None] * color).sum(dim=0) / total.clamp_min(NOTHING)[:, None]
        return torch.cat([total[:, None], mixed.clamp(PALEST, 1 - PALEST).logit()], dim=-1)

    def _part(
        self, scene: Scene, place: Placement, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        local = place.inverse(points)
        # A field reads its own surface beyond its cube; here there is nothing.
        inside = (local.abs() <= volume(scene).radius).all(dim=-1)
        values = look(scene, local, torch.zeros_like(local))
        return torch.where(inside, values.density, 0) / place.scale, values.color

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """The sum of the parts' densities."""
        return encoding[:, 0]

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """The mean colour, before a sigmoid."""
        return encoding[:, 1:]

    def spacing(self, progress: float = 1.0) -> float:
        """The finest of the parts', placed."""
        cells = [place.scale * scene.shape.spacing(progress) for scene, place in self.parts
                 if isinstance(scene.shape, AbstractField)]  # fmt: skip
        return min(cells, default=self.radius / 64)

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """None: it only reads."""
        return iter(())

    def network_parameters(self) -> Iterator[nn.Parameter]:
        """None."""
        return iter(())
