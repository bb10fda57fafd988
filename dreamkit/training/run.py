"""Everything that changes while a scene is optimised, and what pulls at it."""

from dataclasses import dataclass, field

import torch
from torch import nn

from dreamkit.cameras import OrbitSampler
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.levels import AbstractLevels
from dreamkit.guidance.noise import AbstractNoise, Fresh
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import TextGuide
from dreamkit.renderers.scene import Scene
from dreamkit.training.checkpoint import Checkpoint, DamagedCheckpoint, optimizer_tensors, prefixed, restore_optimizer
from dreamkit.training.original import Original
from dreamkit.training.plan import TrainingPlan


@dataclass(frozen=True)
class Distiller:
    """What pulls at a scene: the prior, what it is told, the guidance, and which levels and cameras it visits."""

    prior: AbstractPrior
    guide: TextGuide
    guidance: AbstractGuidance
    levels: AbstractLevels
    cameras: OrbitSampler
    noise: AbstractNoise = field(default_factory=Fresh)
    original: Original | None = None
    "The scene that an edit starts from, for guidances that compare with it."


class Run:
    """Everything that changes while a scene is optimised, and how to save it to the last bit."""

    def __init__(self, scene: Scene, distiller: Distiller, plan: TrainingPlan, seed: int) -> None:
        self.scene, self.distiller, self.plan, self.seed = scene, distiller, plan, seed
        # On the CPU whatever the device: the same seed draws the same numbers everywhere.
        self.generator = torch.Generator().manual_seed(seed)
        self.state = distiller.guidance.init(distiller.prior)
        groups = scene.parameter_groups()
        self.names = [group.name for group in groups]
        self.optimizer = torch.optim.Adam(
            [{"params": list(group.parameters)} for group in groups], lr=1e-3, betas=plan.betas, eps=plan.eps
        )
        self.learner = _learner(self.state, distiller.guidance.pace().rate)
        self.step, self.rollbacks = 0, 0

    def checkpoint(self) -> Checkpoint:
        """The whole state, as tensors and plain facts."""
        tensors = prefixed("scene", self.scene.state_dict()) | {"generator": self.generator.get_state()}
        tensors |= prefixed("optimizer", optimizer_tensors(self.optimizer))
        if self.state is not None:
            tensors |= prefixed("guidance", self.state.state_dict())
        if self.learner is not None:
            tensors |= prefixed("learner", optimizer_tensors(self.learner))
        if self.distiller.original is not None:
            tensors |= prefixed("original", self.distiller.original.scene.state_dict())
        facts = {"step": self.step, "steps": self.plan.steps, "seed": self.seed, "rollbacks": self.rollbacks}
        copies = {name: value.detach().clone() for name, value in tensors.items()}
        return Checkpoint(copies, {name: str(value) for name, value in facts.items()})

    def restore(self, stored: Checkpoint) -> None:
        """Go back to a checkpoint; raises DamagedCheckpoint where it belongs to another run."""
        for name, mine in (("seed", self.seed), ("steps", self.plan.steps)):
            if stored.facts.get(name) != str(mine):
                raise DamagedCheckpoint(
                    f"the checkpoint was made with {name}={stored.facts.get(name)}, and this run has {name}={mine}; "
                    f"resume with the settings of the recipe.toml beside it, or start in another folder"
                )
        try:
            self.scene.load_state_dict(stored.part("scene"))
        except RuntimeError as error:
            raise DamagedCheckpoint(f"the checkpoint holds another kind of scene: {error}") from error
        restore_optimizer(self.optimizer, stored.part("optimizer"))
        self.generator.set_state(stored.tensors["generator"])
        if self.state is not None:
            self.state.load_state_dict(stored.part("guidance"))
        if self.learner is not None:
            restore_optimizer(self.learner, stored.part("learner"))
        if self.distiller.original is not None:
            self.distiller.original.scene.load_state_dict(stored.part("original"))
        self.step, self.rollbacks = int(stored.facts["step"]), int(stored.facts["rollbacks"])


def _learner(state: nn.Module | None, rate: float) -> torch.optim.Optimizer | None:
    learnt = [] if state is None else [p for p in state.parameters() if p.requires_grad]
    return torch.optim.AdamW(learnt, lr=rate) if learnt else None
