"""A noised view: what a guidance sees of a scene."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.draws import Source, normal
from dreamkit.priors.guide import GuidedViews


@dataclass(frozen=True)
class OriginalView:
    """What an edit starts from: the original scene, seen by the same cameras in the same light."""

    clean: Float[Tensor, "batch *latent"]
    "Latents of its renders, without a graph."
    guide: GuidedViews
    "What these renders do look like."
    mask: Float[Tensor, "batch *mask"] | None = None
    "Where the edit may act: 1 inside, 0 outside, of a shape that multiplies latents."


@dataclass(frozen=True)
class NoisyView:
    """A batch of rendered views as a guidance sees them. The views may belong to several scenes."""

    clean: Float[Tensor, "batch *latent"]
    "Latents of the renders: where G is injected."
    noised: Float[Tensor, "batch *latent"]
    "`alpha_t clean + sigma_t noise`, without a graph."
    noise: Float[Tensor, "batch *latent"]
    t: Int[Tensor, " batch"]
    guide: GuidedViews
    "What the views should look like: asks the prior for the guided prediction."
    cameras: Cameras
    source: Source
    "For further draws; each scene's from its own generator."
    progress: float = 0.0
    "Share of the run that is done: for weights that move."
    original: OriginalView | None = None
    "For methods that compare an edited scene with the one it was."
    images: Float[Tensor, "batch *image"] | None = None
    "The renders themselves: for methods that also pull at pixels."


def noisy_view(
    prior: AbstractPrior,
    clean: Float[Tensor, "batch *latent"],
    t: Int[Tensor, " batch"],
    guide: GuidedViews,
    cameras: Cameras,
    source: Source,
    noise: Float[Tensor, "batch *latent"] | None = None,
    progress: float = 0.0,
    original: OriginalView | None = None,
    images: Float[Tensor, "batch *image"] | None = None,
) -> NoisyView:
    """Noise clean latents to the levels `t`.

    Noise is an input: methods that need it fixed, or consistent between views, pass it; without it, it is drawn from
    `source`. Raises ValueError when the numbers of latents, levels, conditions and cameras differ.
    """
    counts = {"latents": len(clean), "levels": len(t), "conditions": len(guide), "cameras": len(cameras)}
    if original is not None:
        counts |= {"original latents": len(original.clean), "original conditions": len(original.guide)}
    if len(set(counts.values())) != 1:
        raise ValueError(f"one level, condition and camera for each latent; got {counts}")
    still, t = clean.detach(), t.to(clean.device)
    noise = normal(still, source) if noise is None else noise
    noised = prior.schedule.add_noise(still, noise, t)
    return NoisyView(clean, noised, noise, t, guide, cameras, source, progress, original, images)
