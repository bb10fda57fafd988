"""A guidance that holds a guidance, and changes one thing about it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.guidance.base import AbstractGuidance, Learning
from dreamkit.guidance.view import NoisyView
from dreamkit.priors.base import AbstractPrior


@dataclass(frozen=True)
class AbstractWrapper(AbstractGuidance):
    """Hands everything on to `inner`; a wrapper says what becomes of the residual, and overrides what it changes."""

    inner: AbstractGuidance

    def init(self, prior: AbstractPrior) -> nn.Module | None:
        return self.inner.init(prior)

    def image_residual(
        self, prior: AbstractPrior, view: NoisyView, residual: Float[Tensor, "batch *latent"]
    ) -> Float[Tensor, "batch *image"] | None:
        return self.inner.image_residual(prior, view, residual)

    def fit(self, prior: AbstractPrior, view: NoisyView, state: nn.Module | None) -> Float[Tensor, ""] | None:
        return self.inner.fit(prior, view, state)

    def pace(self) -> Learning:
        return self.inner.pace()

    def on_image_gradient(
        self,
        gradient: Float[Tensor, "batch height width channels"],
        alpha: Float[Tensor, "batch height width 1"] | None = None,
    ) -> Float[Tensor, "batch height width channels"]:
        return self.inner.on_image_gradient(gradient, alpha)


def nested(guidance: AbstractGuidance) -> list[AbstractGuidance]:
    """The guidance and those that it wraps, from the outside in."""
    return [guidance, *nested(guidance.inner)] if isinstance(guidance, AbstractWrapper) else [guidance]
