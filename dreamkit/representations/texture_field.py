"""Material channels on a multi-resolution hash grid: the colour of shapes whose geometry is kept elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.ops.hash_encode import HashLevels, hash_encode
from dreamkit.representations.base import ParameterGroup
from dreamkit.representations.hash_field import INITIAL_SPREAD
from dreamkit.representations.perceptron import Perceptron
from dreamkit.schedules import Schedule, value_at


class TextureField(nn.Module):
    """`features(x) = V2 relu(V1 e(x))`, e the hash encoding (arXiv 2201.05989) of the cube [-radius, radius]^3.

    The feature half of a `HashField`. `active_levels` may be a ramp over the run. Raises ValueError for sizes without
    meaning.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        levels: HashLevels | None = None,
        hidden: int = 32,
        active_levels: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not radius > 0 or channels < 1 or hidden < 1:
            raise ValueError(
                f"a TextureField needs radius > 0, channels >= 1 and hidden >= 1; got radius={radius}, "
                f"channels={channels}, hidden={hidden}"
            )
        self.radius = radius
        self.levels = HashLevels() if levels is None else levels
        self.active_levels = float(self.levels.levels) if active_levels is None else active_levels
        generator = torch.Generator().manual_seed(seed)
        start = torch.rand(self.levels.entries, self.levels.features, generator=generator)
        self.table = nn.Parameter((start * 2 - 1) * INITIAL_SPREAD)
        self.head = Perceptron((self.levels.channels, hidden, channels), generator)

    def forward(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """Raw channels; points beyond the cube are moved to its surface."""
        active = min(max(int(value_at(self.active_levels, progress)), 1), self.levels.levels)
        unit = (points * (0.5 / self.radius) + 0.5).clamp(0, 1)
        return self.head(hash_encode(unit, self.table, self.levels, active))

    @torch.no_grad()
    def adopt(self, table: Float[Tensor, "entries features"], head: Perceptron, levels: HashLevels) -> bool:
        """Take over the grid and network of a field's features, so that colour survives; False where sizes differ."""
        given, mine = ([tuple(weight.shape) for weight in network.weights] for network in (head, self.head))
        if levels != self.levels or given != mine:
            return False
        self.table.copy_(table)
        self.head.load_state_dict(head.state_dict())
        return True

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """ "encoding" (the table) and "networks" (the head)."""
        return ParameterGroup("encoding", (self.table,)), ParameterGroup("networks", tuple(self.head.parameters()))
