"""PVD-AL: the student practises what it does worst: poses, rays and sample points."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamkit.cameras import Cameras, OrbitSampler, turned
from dreamkit.convert.practice import Practice
from dreamkit.convert.pvd import PVD, scaled
from dreamkit.convert.samples import Pixels, RayBundle, RayPoints
from dreamkit.ops.march import PackedSamples

TURN = math.pi / 20
"Half-width of the roll, pitch and yaw by which a hard pose is changed before it is shown again, in radians."
OPAQUE_RAY = 0.5
"Only rays of at least this opacity choose points."


@dataclass(frozen=True)
class Hardness:
    """How much of what is shown is chosen because it went badly (card 1.7).

    The card's pools, 100 poses and 150 steps of rays, are for 30 000 steps; ours fill within a run of a thousand.
    """

    share: float = 0.1
    "Of an epoch's poses, and of a step's rays."
    patience: int = 3
    "Epochs before poses are chosen."
    pose_pool: int = 12
    ray_pool: int = 10
    "In units of a step's rays."
    points: float = 0.3
    "Share of a ray's points, those of the largest weight."

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and 0 < self.points <= 1) or min(self.pose_pool, self.ray_pool) < 1:
            raise ValueError(
                f"Hardness needs 0 < share < 1, 0 < points <= 1 and pools of at least 1; got share={self.share}, "
                f"points={self.points}, pose_pool={self.pose_pool}, ray_pool={self.ray_pool}"
            )


@dataclass(frozen=True)
class PvdAl(PVD):
    """PVD whose poses, rays and points are chosen by the student's own errors; pixels count from the first step.

    Poses: the worst tenth of each epoch goes into a pool; a random tenth of the pool, slightly turned, replaces a tenth
    of the next poses. Rays: the worst tenth of each step goes into a pool; a tenth of that joins each step. Points:
    values are compared on the 30 % of a ray's points that weigh most in teacher or student. Sources: arXiv 2304.04012;
    method card representations 1.7.
    """

    rank = 1
    feature_share: float = 0.0
    value_share: float = 0.0
    hardness: Hardness = Hardness()

    def practice(self, radius: float, generator: torch.Generator) -> Practice:
        """What the student is shown: what is hard."""
        return HardPractice(self.hardness, scaled(self.cameras, radius), self.poses, self.size, self.rays, generator)


class HardPractice(Practice):
    """`Practice` with pools of what went badly."""

    def __init__(
        self,
        hardness: Hardness,
        sampler: OrbitSampler,
        poses: int,
        size: int,
        rays: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(sampler, poses, size, rays, generator)
        self.hardness, self.epochs = hardness, 0
        self.errors: list[float] = []
        "Mean squared error of each pose of this epoch so far."
        self.hard_poses: Cameras | None = None
        self.hard_rays: RayBundle | None = None

    def epoch(self) -> Cameras:
        """Fresh poses, of which some are hard ones of earlier epochs, turned a little."""
        cameras = super().epoch()
        # An epoch that began before the last stage has not seen all of its poses' errors.
        whole = self.cameras is not None and len(self.errors) == len(self.cameras)
        if self.cameras is not None and whole and self.epochs > self.hardness.patience:
            self._remember_poses(self.cameras)
        self.epochs, self.errors = self.epochs + 1, []
        if self.hard_poses is None or len(self.hard_poses) < self.hardness.pose_pool:
            return cameras
        count = max(round(self.hardness.share * len(cameras)), 1)
        again = self.hard_poses[torch.randperm(len(self.hard_poses), generator=self.generator)[:count]]
        angles = (torch.rand(count, 3, generator=self.generator) * 2 - 1) * TURN
        slots = torch.randperm(len(cameras), generator=self.generator)
        kept = cameras[slots[count:]]
        return kept.joined(turned(again, angles))

    def draw(self) -> RayBundle:
        """Random rays of the pose and, once their pool is full, hard ones of earlier steps."""
        fresh = super().draw()
        if self.hard_rays is None or len(self.hard_rays) < self.hardness.ray_pool * self.rays:
            return fresh
        # The card appends a tenth of the pool, fifteen steps' worth; a tenth of a step's rays keeps the step's cost.
        count = max(round(self.hardness.share * self.rays), 1)
        index = torch.randint(len(self.hard_rays), (count,), generator=self.generator)
        return fresh.join(self.hard_rays.pick(index))

    def points(self, points: RayPoints, student: Pixels, teacher: Pixels) -> Tensor | None:
        """The union of what weighs most for the student and for the teacher."""
        mine, theirs = (heaviest(points.packed, seen, self.hardness.points) for seen in (student, teacher))
        kept = (mine | theirs).nonzero().squeeze(-1)
        return kept if len(kept) else None

    def observe(self, rays: RayBundle, student: Pixels, teacher: Pixels) -> None:
        """Put the worst rays of the pose into the pool, and note how the pose went."""
        own = slice(0, self.rays)
        error = (student.color.detach() - teacher.color).abs().sum(dim=-1)[own]
        self.errors.append(float((student.color.detach() - teacher.color)[own].square().mean()))
        worst = rays.pick(error.topk(max(round(self.hardness.share * self.rays), 1)).indices)
        pool = worst if self.hard_rays is None else worst.join(self.hard_rays)
        # The newest come first, so the oldest fall out.
        self.hard_rays = pool.pick(torch.arange(min(len(pool), self.hardness.ray_pool * self.rays)))

    def _remember_poses(self, seen: Cameras) -> None:
        count = max(round(self.hardness.share * len(self.errors)), 1)
        worst = seen[torch.tensor(self.errors).topk(count).indices]
        pool = worst if self.hard_poses is None else worst.joined(self.hard_poses)
        self.hard_poses = pool[slice(0, max(self.hardness.pose_pool, count))]


def heaviest(packed: PackedSamples, seen: Pixels, share: float) -> Tensor:
    """True for the points among the `share` of largest weight of their ray, on rays that are at least half opaque."""
    weights = seen.weights.detach()
    number = (packed.offsets[1:] - packed.offsets[:-1])[packed.ray]
    # Sort by ray, then by falling weight: the place within the ray is the rank.
    order = torch.argsort(weights, descending=True, stable=True)
    order = order[torch.argsort(packed.ray[order], stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - packed.offsets[packed.ray[order]]
    solid = seen.alpha.detach()[packed.ray] >= OPAQUE_RAY
    return (rank < (share * number).ceil()) & solid & (weights > 0)
