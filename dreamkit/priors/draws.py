"""Random numbers for a batch of views, each scene's from its own generator.

A scene packed into a batch with others gets the numbers it would get alone, so an asset never depends on its
neighbours. Numbers are drawn on the generator's device and then moved: a CPU generator gives a GPU run its bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PackedGenerators:
    """The generators of several scenes whose views lie one scene after the other in a batch."""

    generators: tuple[torch.Generator, ...]
    views: tuple[int, ...]
    "How many views of the batch belong to each scene."

    def __post_init__(self) -> None:
        if len(self.generators) != len(self.views):
            raise ValueError(f"{len(self.generators)} generators for {len(self.views)} scenes; give one to each scene")

    @staticmethod
    def cat(sources: "Sequence[Source]", views: Sequence[int]) -> "PackedGenerators":
        """Those of several batches, one after the other; source i serves `views[i]` views."""
        parts = [
            PackedGenerators((source,), (count,)) if isinstance(source, torch.Generator) else source
            for source, count in zip(sources, views, strict=True)
        ]
        return PackedGenerators(
            tuple(generator for part in parts for generator in part.generators),
            tuple(count for part in parts for count in part.views),
        )


Source = torch.Generator | PackedGenerators
"Where random numbers come from: one scene's generator, or those of a packed batch."


def normal(like: Float[Tensor, "batch *latent"], source: Source) -> Float[Tensor, "batch *latent"]:
    """Standard normal numbers in the shape, type and place of `like`."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        shape = (count, *like.shape[1:])
        return torch.randn(shape, generator=generator, device=generator.device, dtype=like.dtype)

    return _concatenate(draw, len(like), source).to(like.device)


def uniform(batch: int, source: Source, group: int = 1) -> Float[Tensor, " batch"]:
    """Numbers in [0, 1), on the CPU; `group` neighbouring views share one. Raises ValueError on a group cut in two."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        if count % group:
            raise ValueError(f"{count} views of a scene do not divide into groups of {group}; change batch or group")
        numbers = torch.rand(count // group, generator=generator, device=generator.device)
        return numbers.repeat_interleave(group).cpu()

    return _concatenate(draw, batch, source)


def _concatenate(draw: Callable[[int, torch.Generator], Tensor], batch: int, source: Source) -> Tensor:
    if isinstance(source, torch.Generator):
        return draw(batch, source)
    if sum(source.views) != batch:
        raise ValueError(f"the scenes own {sum(source.views)} views of a batch of {batch}; the counts must agree")
    parts: Sequence[Tensor] = [draw(n, generator) for n, generator in zip(source.views, source.generators, strict=True)]
    return torch.cat(parts)
