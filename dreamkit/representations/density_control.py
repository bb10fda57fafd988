"""Gaussians that split where they are too few, and vanish where they do nothing (card representations 6.5 and 6.6)."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.rendering import SplatStatistics
from dreamkit.representations.gaussian_cloud import GaussianCloud


@dataclass(frozen=True)
class History:
    """What was seen of each Gaussian since density control last acted."""

    gradient: Float[Tensor, " gaussians"]
    "Sum over views of |dL/d centre|, in half-pictures (the unit of the published thresholds)."
    views: Float[Tensor, " gaussians"]
    "Number of views in which it was drawn."
    radius: Float[Tensor, " gaussians"]
    "Largest footprint, three standard deviations as a share of the picture's height."

    @classmethod
    def empty(cls, count: int, device: torch.device) -> "History":
        """Nothing seen yet."""
        gradient, views, radius = torch.zeros(3, count, device=device)
        return cls(gradient, views, radius)

    def after(self, seen: SplatStatistics) -> "History":
        """With one more rendering, whose backward pass has been run."""
        if seen.centre.grad is None:
            return self
        drawn = (seen.radius > 0).float()
        half = 0.5 * seen.centre.new_tensor([seen.width, seen.height])
        gradient = (seen.centre.grad * half).norm(dim=-1)
        return History(
            self.gradient + (gradient * drawn).sum(dim=0),
            self.views + drawn.sum(dim=0),
            self.radius.maximum(seen.radius.amax(dim=0) / seen.height),
        )


@dataclass(frozen=True)
class Regrown:
    """A cloud after growing and pruning."""

    cloud: GaussianCloud
    rows: Int[Tensor, " gaussians"]
    "Row of the cloud before that each Gaussian is; -1 for one that is new."


@dataclass(frozen=True)
class DensityControl:
    """Every `every` steps from `begin` to `finish` (shares of the run), grow and prune; reset opacities if asked.

    A Gaussian whose mean screen gradient is above `gradient` grows: is cloned where its largest deviation is at most
    `small` (a share of the scene's radius), else gives way to two drawn from it with scales / 1.6. At most `share` of
    the Gaussians grow at a time, and never to more than `most`: those with the largest gradients. Pruned are opacities
    below `faint`, deviations above `large` (share of the radius), footprints above `wide` (share of the picture) and
    centres outside the scene's cube. Every `reset_every` steps (0: never), opacities fall to `reset_opacity` at most.
    The defaults are those for photographs (arXiv 2308.04079, card 6.5); score distillation has gradients tens of times
    larger (card 6.6). Raises ValueError for settings without meaning.
    """

    every: int = 100
    begin: float = 0.02
    finish: float = 0.5
    gradient: float = 2e-4
    small: float = 0.01
    share: float = 1.0
    most: int = 1_000_000
    faint: float = 0.005
    large: float = 0.1
    wide: float = 1.0
    reset_every: int = 0
    reset_opacity: float = 0.01

    def __post_init__(self) -> None:
        if self.every < 1 or self.reset_every < 0 or not 0 <= self.begin <= self.finish <= 1:
            raise ValueError(
                "density control needs every >= 1, reset_every >= 0 and 0 <= begin <= finish <= 1; got "
                f"every={self.every}, reset_every={self.reset_every}, begin={self.begin}, finish={self.finish}"
            )
        if not 0 < self.reset_opacity < 1 or not 0 <= self.share <= 1:
            raise ValueError(
                f"density control needs 0 < reset_opacity < 1 and 0 <= share <= 1; got "
                f"reset_opacity={self.reset_opacity}, share={self.share}"
            )

    @property
    def reset_logit(self) -> float:
        """Raw opacity that a reset leaves at most."""
        return math.log(self.reset_opacity / (1 - self.reset_opacity))

    def acts(self, step: int, progress: float) -> bool:
        """Whether Gaussians grow and vanish after `step` steps."""
        return step % self.every == 0 and self.begin <= progress <= self.finish

    def resets(self, step: int, progress: float) -> bool:
        """Whether opacities are reset after `step` steps."""
        return self.reset_every > 0 and step % self.reset_every == 0 and progress <= self.finish

    @torch.no_grad()
    def grown(
        self,
        cloud: GaussianCloud,
        history: History,
        radius: float,
        step: int,
        progress: float,
        generator: torch.Generator,
    ) -> Regrown | None:
        """The cloud after growing and pruning, or None where it is not time for it."""
        if not self.acts(step, progress):
            return None
        chosen = self._chosen(history)
        largest = cloud.scales.exp().amax(dim=-1) / radius
        cloned, split = chosen & (largest <= self.small), chosen & (largest > self.small)
        rows = torch.arange(len(cloud), device=chosen.device)
        children = _children(cloud[rows[split]], generator)
        parts = (cloud[rows[~split]], cloud[rows[cloned]], children)
        fresh = torch.full((int(cloned.sum()) + len(children),), -1, device=rows.device)
        everything, source = _join(parts), torch.cat([rows[~split], fresh])
        # What is new has no history, and none of it is pruned for its footprint.
        footprint = torch.where(source < 0, 0.0, history.radius[source.clamp_min(0)])
        kept = self._kept(everything, footprint, radius).nonzero().squeeze(-1)
        return Regrown(everything[kept], source[kept])

    def _chosen(self, history: History) -> Tensor:
        mean = history.gradient / history.views.clamp_min(1)
        room = max(self.most - len(mean), 0)
        quota = min(int(self.share * len(mean)), room)
        chosen = torch.zeros_like(mean, dtype=torch.bool)
        chosen[mean.argsort(descending=True, stable=True)[:quota]] = True
        return chosen & (mean > self.gradient)

    def _kept(self, cloud: GaussianCloud, footprint: Float[Tensor, " gaussians"], radius: float) -> Tensor:
        solid = torch.sigmoid(cloud.opacities) >= self.faint
        compact = cloud.scales.exp().amax(dim=-1) <= self.large * radius
        inside = (cloud.positions.abs() <= radius).all(dim=-1)
        kept = solid & compact & inside & (footprint <= self.wide)
        # A cloud of nothing cannot be trained back into something.
        return kept if int(kept.sum()) >= 2 else torch.ones_like(kept)


def _children(parents: GaussianCloud, generator: torch.Generator) -> GaussianCloud:
    """Two Gaussians for each parent, drawn from it, 1.6 times smaller."""
    twice = _join((parents, parents))
    draw = torch.randn(len(twice), 3, generator=generator).to(twice.positions)
    axes = twice.scales.shape[1]
    offset = rotation_matrices(twice.rotations)[:, :, :axes] @ (draw[:, :axes] * twice.scales.exp()).unsqueeze(-1)
    return replace(twice, positions=twice.positions + offset.squeeze(-1), scales=twice.scales - math.log(1.6))


def _join(parts: tuple[GaussianCloud, ...]) -> GaussianCloud:
    return GaussianCloud(*(torch.cat(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))
