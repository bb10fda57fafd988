"""What a training loop is told: how long, how fast, how large, and what a good surface weighs."""

from dataclasses import dataclass, field, fields

from jaxtyping import Float
from torch import Tensor

from dreamkit.rendering import Rendering
from dreamkit.representations.rates import Rates
from dreamkit.schedules import Milestones, Schedule, value_at
from dreamkit.training import regularizers
from dreamkit.training.material_prior import MaterialPrior


@dataclass(frozen=True)
class Regularization:
    """Weight of each regulariser; the names are functions of `training/regularizers.py`, 0 leaves one out."""

    orientation: Schedule = 0.0
    sparsity: Schedule = 0.0
    opaque: Schedule = 0.0
    weight_entropy: Schedule = 0.0
    emptiness: Schedule = 0.0
    z_variance: Schedule = 0.0
    distortion: Schedule = 0.0
    normal_smoothness: Schedule = 0.0
    normal_consistency: Schedule = 0.0
    "This and the following are for meshes."
    face_consistency: Schedule = 0.0
    laplacian: Schedule = 0.0
    bending: Schedule = 0.0
    edge_length: Schedule = 0.0
    sign_change: Schedule = 0.0
    developability: Schedule = 0.0
    splat_size: Schedule = 0.0
    "This one and the next two are for clouds of Gaussians."
    splat_anisotropy: Schedule = 0.0
    splat_entropy: Schedule = 0.0
    surfel_distortion: Schedule = 0.0
    "This one and the next are for surfels (renderer.type = surfel_renderer)."
    surfel_normals: Schedule = 0.0

    @property
    def needs_normals(self) -> bool:
        """Whether the scene must be rendered with normals."""
        return self.orientation != 0 or self.normal_smoothness != 0

    def terms(self, rendering: Rendering, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The weighted terms, by name."""
        weights = {entry.name: value_at(getattr(self, entry.name), progress) for entry in fields(self)}
        return {name: weight * getattr(regularizers, name)(rendering) for name, weight in weights.items() if weight}


@dataclass(frozen=True)
class TrainingPlan:
    """A run of `steps` optimiser steps (Adam; the sources agree on betas (0.9, 0.99) and eps 1e-15)."""

    steps: int = 400
    rates: Rates = field(default_factory=Rates)
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-15
    milestones: Milestones = field(default_factory=Milestones)
    regularization: Regularization = field(default_factory=Regularization)
    material: MaterialPrior = field(default_factory=MaterialPrior)
    checkpoint_every: int = 100
    "Steps between checkpoints, and between the points to which the run returns after NaN."
    preview_every: int = 25
    "Steps between previews; 0 for none."
    patience: int = 3
    "Rollbacks in a row, without reaching the next checkpoint, before the run gives up."

    def __post_init__(self) -> None:
        if self.steps < 1 or self.checkpoint_every < 1 or self.preview_every < 0:
            raise ValueError(
                f"a run needs steps >= 1, checkpoint_every >= 1 and preview_every >= 0; got steps={self.steps}, "
                f"checkpoint_every={self.checkpoint_every}, preview_every={self.preview_every}"
            )
