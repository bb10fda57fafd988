"""Perp-Neg: other views' prompts as negatives, but only where they do not contradict the prompt itself."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.priors.shaping import AbstractShaping, Predictions, project


@dataclass(frozen=True)
class PerpNeg(AbstractShaping):
    """`eps = null + scale (e_pos + sum_i w_i perp(e_i, e_pos))`, `e = eps(.) - null`, `w_i <= 0` (arXiv 2304.04968).

    `perp(e_i, e_pos) = e_i - <e_i, e_pos> / |e_pos|^2 e_pos` for each sample. The extras are the front and the side
    prompt; `weights` below says how much of each. Four predictions a view instead of two; meaningless for rooms.
    """

    strength: float = 1.0
    "Factor on all weights; ASD's recipes use 0.5."

    @property
    def perpendicular(self) -> bool:
        return True

    def combine(self, predictions: Predictions) -> Float[Tensor, "batch *latent"]:
        text = predictions.positive - predictions.negative
        direction = text
        for index, extra in enumerate(predictions.extras):
            other = extra - predictions.negative
            weight = predictions.broadcast(self.strength * predictions.weights[:, index])
            direction = direction + weight * (other - project(other, text))
        return predictions.negative + predictions.broadcast(predictions.scale) * direction


def weights(
    azimuth: Float[Tensor, " views"], elevation: Float[Tensor, " views"], overhead_above: float = 60.0
) -> Float[Tensor, "views 2"]:
    """Weights of the front and the side prompt as negatives, for azimuths in (-180, 180] degrees (method card 13.3).

    With `f(A, c; r) = A exp(-r / 2) + c`. Front half, `r = 1 - |a| / 90`: front `-f(4, -2.426; r)`, side
    `-f(4, -2.426; 1 - r)`. Back half, `r = 2 - |a| / 90`: front `-f(1, 0.967; r)`, side `-f(1, -0.606; r)`.
    Zero above `overhead_above`.
    """
    turn = azimuth.abs() / 90
    in_front = torch.stack([-_decay(4.0, -2.426, 1 - turn), -_decay(4.0, -2.426, turn)], dim=1)
    behind = torch.stack([-_decay(1.0, 0.967, 2 - turn), -_decay(1.0, -0.606, 2 - turn)], dim=1)
    chosen = torch.where((turn < 1).unsqueeze(1), in_front, behind)
    return torch.where((elevation > overhead_above).unsqueeze(1), torch.zeros_like(chosen), chosen)


def _decay(height: float, offset: float, r: Float[Tensor, " views"]) -> Float[Tensor, " views"]:
    return height * torch.exp(-r / 2) + offset
