"""Where the noise of a view comes from: drawn anew, the same throughout a run, or with an offset for each channel."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.priors.draws import PackedGenerators, Source, normal


class AbstractNoise(ABC):
    """A source of the noise that lifts clean latents to their levels."""

    @abstractmethod
    def draw(self, like: Float[Tensor, "batch *latent"], source: Source) -> Float[Tensor, "batch *latent"]:
        """Noise in the shape, type and place of `like`."""


@dataclass(frozen=True)
class Fresh(AbstractNoise):
    """Standard normal numbers, new at each step."""

    def draw(self, like: Float[Tensor, "batch *latent"], source: Source) -> Float[Tensor, "batch *latent"]:
        return normal(like, source)


@dataclass(frozen=True)
class Fixed(AbstractNoise):
    """One noise for all views and all steps of a scene: a function of its generator's seed (Consistent3D's eps*).

    Draws nothing from the generator itself. A run that returns from NaN has a new seed, hence a new noise.
    """

    def draw(self, like: Float[Tensor, "batch *latent"], source: Source) -> Float[Tensor, "batch *latent"]:
        packed = PackedGenerators.cat([source], [len(like)])
        # Another stream than the run's own, which starts from the seed itself.
        seeds = [generator.initial_seed() ^ 0x5EED for generator in packed.generators]
        one = [normal(like[:1], torch.Generator().manual_seed(seed)) for seed in seeds]
        counts = torch.tensor(packed.views, device=like.device)
        return torch.cat(one).repeat_interleave(counts, dim=0)


@dataclass(frozen=True)
class Offset(AbstractNoise):
    """`normal + strength normal_c`, the second one number for each first axis of a latent, the channels.

    LucidDreamer's ISM adds 0.1, so that the mean of a picture can move as well.
    """

    strength: float = 0.1

    def draw(self, like: Float[Tensor, "batch *latent"], source: Source) -> Float[Tensor, "batch *latent"]:
        shift = normal(like.new_empty(like.shape[:2]), source)
        return normal(like, source) + self.strength * shift.view(*shift.shape, *[1] * (like.ndim - 2))
