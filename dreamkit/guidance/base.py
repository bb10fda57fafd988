"""What every score distillation is: a residual `G = w(t) (attract - reference)`, and what it may learn for it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class Learning:
    """How a learnt reference follows the renders."""

    rate: float = 1e-4
    "Learning rate of AdamW."
    updates: int = 1
    "Steps of the reference for each step of the scene."

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.updates < 1:
            raise ValueError(f"learning needs rate > 0 and updates >= 1; got {self.rate} and {self.updates}")


@dataclass(frozen=True)
class AbstractGuidance(ABC):
    """A score distillation. Frozen values only; what a method learns or remembers is the state that it is passed."""

    paper: ClassVar[str]
    "arXiv number."

    def init(self, prior: AbstractPrior) -> nn.Module | None:
        """A fresh state: a module with what the method learns (parameters) and remembers (buffers), or None."""
        return None

    @abstractmethod
    def residual(
        self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None
    ) -> Float[Tensor, "batch *latent"]:
        """`G`, injected as dL/dx at the clean latents: the optimiser descends, so G points away from the prior."""

    def image_residual(
        self, prior: AbstractPrior, view: NoisyView, residual: Float[Tensor, "batch *latent"]
    ) -> Float[Tensor, "batch *image"] | None:
        """What is injected as dL/dI at the renders besides; `residual` is G. None where the method works on latents."""
        return None

    def fit(self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None) -> Float[Tensor, ""] | None:
        """The loss of the learnt reference; its gradient reaches the state only. None where nothing is learnt."""
        return None

    def pace(self) -> Learning:
        """How fast what `fit` trains should learn."""
        return Learning()

    def on_image_gradient(
        self,
        gradient: Float[Tensor, "batch height width channels"],
        alpha: Float[Tensor, "batch height width 1"] | None = None,
    ) -> Float[Tensor, "batch height width channels"]:
        """What becomes of dL/dI before it enters the renderer; the loop hooks it on the rendered images.

        `alpha` is the opacity of these images, for methods that only touch the object.
        """
        return gradient
