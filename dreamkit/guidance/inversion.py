"""Deterministic noising: walk up the prior's own trajectory (DDIM inversion) instead of adding random noise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.schedule import NoiseSchedule

Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"eps of noised latents at levels t, for the rows of the batch that the third argument lists."


def ddim_step(
    schedule: NoiseSchedule,
    noised: Float[Tensor, "batch *latent"],
    noise: Float[Tensor, "batch *latent"],
    start: Int[Tensor, " batch"],
    end: Int[Tensor, " batch"],
) -> Float[Tensor, "batch *latent"]:
    """`x_end = alpha_end x_0 + sigma_end eps`, with the x_0 that `noise` stands for at `start` (arXiv 2010.02502).

    In `z = x / alpha` this is Euler's step `z + (sigma_end / alpha_end - sigma_start / alpha_start) eps`. Latents whose
    levels are equal come back to the last bit.
    """
    moved = schedule.add_noise(schedule.denoise(noised, noise, start), noise, end)
    return torch.where((start == end).to(noised.device).view(-1, *[1] * (noised.ndim - 1)), noised, moved)


@dataclass(frozen=True)
class Ladder:
    """The levels that an inversion visits on its way to a level s: `max(s - stride steps, 0)`, then every `stride`.

    Random noise lifts the clean latents to the first of them, the prior's own predictions do the rest; the last stride
    is as short as it must be. With LucidDreamer's 200 x 5 the first level is always 0.
    """

    stride: int = 200
    steps: int = 5

    def __post_init__(self) -> None:
        if self.stride < 1 or self.steps < 0:
            raise ValueError(f"an inversion needs stride >= 1 and steps >= 0; got {self.stride} and {self.steps}")

    def invert(
        self,
        schedule: NoiseSchedule,
        clean: Float[Tensor, "batch *latent"],
        noise: Float[Tensor, "batch *latent"],
        end: Int[Tensor, " batch"],
        predict: Predictor,
    ) -> Float[Tensor, "batch *latent"]:
        """`x_end`; `predict` is asked only for the views that have not arrived yet."""
        level = (end - self.stride * self.steps).clamp_min(0)
        x = schedule.add_noise(clean, noise, level)
        while (rows := (level < end).nonzero().flatten()).numel():
            start, goal = level[rows], torch.minimum(level[rows] + self.stride, end[rows])
            eps = predict(x[rows], start, rows)
            x = x.index_copy(0, rows.to(x.device), ddim_step(schedule, x[rows], eps, start, goal))
            level = level.index_copy(0, rows, goal)
        return x
