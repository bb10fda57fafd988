"""NeRF: a radiance field that is a network of the position alone."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.representations.density import DensityMap
from dreamkit.representations.latent_field import LATENT, LatentField
from dreamkit.representations.perceptron import Perceptron
from dreamkit.schedules import Schedule, value_at

INITIAL_OUTPUT = 1e-2
"The trunk's last weights are scaled by this, so that a fresh field is its blob."
BOTTLENECK = 28
"Width between the deep network and the two layers that give the 16-vector (PVD: the width of its hash encoding)."


class MlpField(LatentField):
    """Positional encoding, `depth` layers of `width` with the input given again half-way, then 28 -> 64 -> 16.

    `gamma(x) = (x, w_l sin(2^l pi x), w_l cos(2^l pi x))`, l < frequencies, x in units of the radius;
    `w_l = (1 - cos(pi clamp(a - l, 0, 1))) / 2` opens frequency l as `active_frequencies` a passes it (Nerfies, arXiv
    2011.12948, section 3.5), and is 1 by default. The defaults are the card's (63 numbers, 8 layers of 256): for a GPU;
    4 layers of 64 serve on a CPU. Raises ValueError for sizes without meaning. Sources: NeRF, arXiv 2003.08934, section
    5.1; card 1.3.
    """

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        frequencies: int = 10,
        width: int = 256,
        depth: int = 8,
        hidden: int = 64,
        density_map: DensityMap | None = None,
        active_frequencies: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        super().__init__(radius, channels, hidden, density_map, generator)
        if min(frequencies, width) < 1 or depth < 2:
            raise ValueError(
                f"an MlpField needs frequencies >= 1, width >= 1 and depth >= 2; "
                f"got frequencies={frequencies}, width={width}, depth={depth}"
            )
        self.frequencies = frequencies
        self.active_frequencies = float(frequencies) if active_frequencies is None else active_frequencies
        inputs = 3 + 6 * frequencies
        self.again = depth // 2
        sizes = [(inputs if i == 0 else width + (inputs if i == self.again else 0), width) for i in range(depth)]
        self.weights = nn.ParameterList(nn.Parameter(_kaiming(a, b, generator)) for a, b in sizes)
        self.offsets = nn.ParameterList(nn.Parameter(torch.zeros(b)) for _, b in sizes)
        self.trunk = Perceptron((width, BOTTLENECK, hidden, LATENT), generator)
        with torch.no_grad():
            self.trunk.weights[-1].mul_(INITIAL_OUTPUT)

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """The 16-vector; points beyond the cube are moved to its surface."""
        place = self.positional(self.unit(points) * 2 - 1, progress)
        x = place
        for i, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True)):
            x = torch.cat([x, place], dim=-1) if i == self.again else x
            x = torch.relu(torch.addmm(offset, x, weight.T))
        return self.trunk(x)

    def positional(self, x: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points inputs"]:
        """`gamma(x)` for x in [-1, 1]^3."""
        octave = torch.arange(self.frequencies, dtype=x.dtype, device=x.device)
        angle = (x[:, None] * (math.pi * 2**octave)[:, None]).flatten(1)
        opened = (value_at(self.active_frequencies, progress) - octave).clamp(0, 1)
        weight = (0.5 - 0.5 * torch.cos(math.pi * opened)).repeat_interleave(3)
        return torch.cat([x, weight * torch.sin(angle), weight * torch.cos(angle)], dim=-1)

    def spacing(self, progress: float = 1.0) -> float:
        """Half a wave of the highest open frequency, `radius / 2^(l - 1)` for l open ones."""
        opened = min(max(math.ceil(value_at(self.active_frequencies, progress)), 1), self.frequencies)
        return self.radius / 2 ** (opened - 1)

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """None: nothing is looked up by place."""
        return iter(())

    def place_parameters(self) -> Iterator[nn.Parameter]:
        """All layers up to the 16-vector."""
        yield from self.weights
        yield from self.offsets
        yield from self.trunk.parameters()


def _kaiming(inputs: int, outputs: int, generator: torch.Generator) -> Float[Tensor, "outputs inputs"]:
    """Uniform in `+-sqrt(6 / inputs)`: eight ReLU layers then keep the signal's size (arXiv 1502.01852)."""
    return (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * math.sqrt(6 / inputs)
