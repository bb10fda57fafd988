"""Which cells of space hold anything: a grid that follows the density, so that rays can skip what is empty."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class OccupancyGrid(nn.Module):
    """Decaying maximum of the optical thickness of one ray step, `g <- max(decay g, sigma step)`, in each cell.

    A cell is occupied where `g > min(mean(g), threshold)`. Until the first update, and whenever that would leave no
    cell at all, every cell is: an empty grid would take all gradients away for good. Cells are indexed [x][y][z] over
    the cube [-radius, radius]^3. Source: nerfacc (arXiv 2305.04966); method card representations 5.5, except that the
    default threshold is half of the card's 0.01: with coarse steps 0.01 takes visible haze away (a ball with a soft
    border, 128 samples a diagonal: 40.1 dB to the same picture without skipping; with 0.005 45.5 dB).
    """

    value: Tensor
    mask: Tensor

    def __init__(
        self, grid: int = 32, every: int = 16, warmup: int = 256, decay: float = 0.95, threshold: float = 0.005
    ) -> None:
        super().__init__()
        if grid < 1 or every < 1 or warmup < 0 or not 0 <= decay < 1:
            raise ValueError(
                f"an OccupancyGrid needs grid >= 1, every >= 1, warmup >= 0 and 0 <= decay < 1; "
                f"got grid={grid}, every={every}, warmup={warmup}, decay={decay}"
            )
        self.grid, self.every, self.warmup, self.decay, self.threshold = grid, every, warmup, decay, threshold
        self.register_buffer("value", torch.zeros(grid**3))
        self.register_buffer("mask", torch.ones(grid, grid, grid, dtype=torch.bool))

    @torch.no_grad()
    def update(
        self,
        density: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]],
        radius: float,
        length: float,
        step: int,
        generator: torch.Generator,
    ) -> None:
        """Ask the density at a random point of some cells, on every `every`-th training step; `length` is a ray's step.

        All cells are asked during the first `warmup` steps, then a quarter drawn uniformly and up to a quarter drawn
        from the occupied ones.
        """
        if step % self.every:
            return
        cell = self._all() if step < self.warmup else self._some(generator)
        low = torch.stack([cell // self.grid**2, cell // self.grid % self.grid, cell % self.grid], dim=-1)
        jitter = torch.rand(len(cell), 3, generator=generator, device=generator.device).to(self.value)
        point = ((low + jitter) * (2 / self.grid) - 1) * radius
        # A cell that was drawn twice decays once and keeps the larger answer, whatever the order of work.
        fresh = self.value.index_put((cell,), self.value[cell] * self.decay)
        self.value.copy_(fresh.scatter_reduce(0, cell, density(point).to(fresh) * length, "amax"))
        occupied = self.value > self.value.mean().clamp_max(self.threshold)
        self.mask.copy_((occupied | ~occupied.any()).view_as(self.mask))

    @torch.no_grad()
    def open(self) -> None:
        """Every cell is occupied until the next update: for a shape that was changed by hand."""
        self.value.zero_()
        self.mask.fill_(True)

    def holds(self, points: Float[Tensor, "points 3"], radius: float) -> Bool[Tensor, " points"]:
        """Whether each point lies in an occupied cell; points beyond the cube count to the cells at its faces."""
        x, y, z = ((points / radius + 1) * (self.grid / 2)).long().clamp(0, self.grid - 1).unbind(dim=-1)
        return self.mask[x, y, z]

    def _all(self) -> Int[Tensor, " cells"]:
        return torch.arange(self.grid**3, device=self.value.device)

    def _some(self, generator: torch.Generator) -> Int[Tensor, " cells"]:
        quarter = max(self.grid**3 // 4, 1)
        anywhere = torch.randint(self.grid**3, (quarter,), generator=generator, device=generator.device)
        occupied = self.mask.flatten().nonzero().squeeze(-1)
        if len(occupied) > quarter:
            pick = torch.randint(len(occupied), (quarter,), generator=generator, device=generator.device)
            occupied = occupied[pick.to(occupied.device)]
        return torch.cat([anywhere.to(occupied.device), occupied])
