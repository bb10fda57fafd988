"""The scene that an edit starts from, seen in the same light as the scene that it becomes."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from dreamkit.cameras import Cameras
from dreamkit.guidance.view import OriginalView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import GuidedViews, TextGuide
from dreamkit.renderers.scene import Scene


@dataclass(frozen=True)
class Original:
    """A finished scene that stays as it is, and what it shows.

    Generator states are passed in, those before the edited scene's own draws: background, light, jitter and the
    encoder's sample are then the same, and two equal scenes differ in nothing.
    """

    scene: Scene
    guide: TextGuide
    masked: bool = False
    "Whether the edit may act only where the original is."

    def update(self, progress: float, step: int, draws: Tensor) -> None:
        """Keep the renderer's acceleration (no parameter) in step with the edited scene's."""
        self.scene.update(progress, step, _from_state(draws))

    def view(
        self,
        prior: AbstractPrior,
        guide: GuidedViews,
        cameras: Cameras,
        progress: float,
        draws: Tensor,
        before_encoding: Tensor,
    ) -> OriginalView:
        """Render and encode without a graph, at the guidance scale of the edited views' `guide`."""
        generator = _from_state(draws)
        with torch.no_grad():
            rendering = self.scene.render(cameras, progress=progress, generator=generator)
            clean = prior.encode(rendering.color, _from_state(before_encoding))
        told = replace(self.guide.at(cameras, progress, source=generator), scale=guide.scale)
        mask = _on_latents(rendering.alpha, clean, rendering.color.shape) if self.masked else None
        return OriginalView(clean, told, mask)


def _from_state(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def _on_latents(
    alpha: Float[Tensor, "batch height width 1"], clean: Float[Tensor, "batch *latent"], image: torch.Size
) -> Float[Tensor, "batch *mask"]:
    """1 for every latent whose part of the image shows something; latents are images, or have their channels first."""
    solid = (alpha > 0.5).to(clean)
    return solid if clean.shape == image else functional.adaptive_max_pool2d(solid.movedim(-1, 1), clean.shape[-2:])
