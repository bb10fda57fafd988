"""A whole run in miniature: a tiny field and a prior in closed form, so that the loop can be tested in seconds."""

from dataclasses import dataclass

import torch

from dreamkit.cameras import OrbitSampler
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.levels import Window
from dreamkit.guidance.sds import SDS
from dreamkit.materials.backgrounds import RandomSolid
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.priors.analytic import gaussian
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.renderers.occupancy import OccupancyGrid
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.hash_field import HashField
from dreamkit.schedules import Milestones
from dreamkit.training.plan import Rates, Regularization, TrainingPlan
from dreamkit.training.run import Distiller

SIZE = 8


def small_scene(seed: int = 0) -> Scene:
    field = HashField(levels=HashLevels(levels=4, log2_table_size=8, growth=1.5), hidden=8, seed=seed)
    return Scene(field, background=RandomSolid(), renderer=VolumeRenderer(samples=24, occupancy=OccupancyGrid(grid=8)))


def small_distiller(guidance: AbstractGuidance | None = None) -> Distiller:
    """A prior whose pictures are all orange: N(orange, 0.3^2)."""
    orange = torch.tensor([0.9, 0.5, 0.1]).expand(SIZE, SIZE, 3).contiguous()
    prior = gaussian(orange, 0.3)
    table = embed_prompts(prior, [ViewWording(enabled=False).prompts("0")])
    return Distiller(prior, TextGuide(table, scale=1.0), guidance or SDS(), Window(0.02, 0.6), OrbitSampler())


@dataclass(frozen=True)
class Fault(AbstractGuidance):
    """SDS that gives NaN wherever a random number says so: a stand-in for an overflow."""

    paper = "2209.14988"
    chance: float = 0.1
    always: bool = False

    def residual(self, prior, view, state):
        good = SDS().residual(prior, view, state)
        draw = torch.rand((), generator=view.source)
        return good * float("nan") if self.always or draw < self.chance else good


def small_plan(steps: int = 12, every: int = 4) -> TrainingPlan:
    return TrainingPlan(
        steps=steps,
        rates=Rates(encoding=0.02, networks=0.01),
        milestones=Milestones(sizes=(SIZE,), views=(2,)),
        regularization=Regularization(sparsity=0.1, opaque=0.1),
        checkpoint_every=every,
        preview_every=5,
    )
