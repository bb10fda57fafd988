"""An edited view and its original under the same noise: what DDS and PDS compare."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.guidance.view import NoisyView, OriginalView
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import GuidedViews


@dataclass(frozen=True)
class Pair:
    """Guided predictions of an edited view and of its original, at the same levels and with the same noise."""

    edited: Float[Tensor, "batch *latent"]
    "Guided eps of the edited view under the new prompt."
    original: Float[Tensor, "batch *latent"]
    "Guided eps of the original view under its own prompt."
    moved: Float[Tensor, "batch *latent"]
    "How far the edited latents are from the original's, `x - x_src`."
    mask: Float[Tensor, "batch *mask"]
    "Where the edit may act; ones where there is no mask."


def predict_pair(prior: AbstractPrior, view: NoisyView, method: str) -> Pair:
    """Ask the prior about `x_t` and `x_t_src = alpha_t x_src + sigma_t eps` in one call.

    Raises ValueError, in the name of `method`, when the view has no original.
    """
    original = _original(view, method)
    noised = prior.schedule.add_noise(original.clean, view.noise, view.t)
    guide = GuidedViews.cat([view.guide, original.guide])
    edited, kept = guide.predict(prior, torch.cat([view.noised, noised]), view.t.repeat(2)).chunk(2)
    ones = torch.ones_like(view.noised)
    moved = view.clean.detach() - original.clean
    return Pair(edited, kept, moved, ones if original.mask is None else original.mask.to(ones))


def _original(view: NoisyView, method: str) -> OriginalView:
    if view.original is None:
        raise ValueError(
            f"{method} edits a scene that exists, and was given none to compare with. In a recipe, name the run that "
            "it edits: [edit] run = 'outputs/mug' (or --set edit.run=outputs/mug); in Python, pass "
            "Distiller(..., original=...)"
        )
    return view.original
