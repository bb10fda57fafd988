"""From a normal map to heights: the surface whose slopes fit the normals best."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.linalg import lsqr
from torch import Tensor

STEEPEST = 0.05
"Normals are tilted at most this far (their part towards the camera): steeper slopes would outweigh all others."


def integrate_normals(
    normals: Float[Tensor, "height width 3"], mask: Bool[Tensor, "height width"], spacing: float
) -> Float[Tensor, "height width"]:
    """Heights z towards the camera that minimise `sum (z_j - z_i - spacing slope_ij)^2` over neighbouring pixels.

    Normals are unit, in the camera's frame (x right, y up, z towards it) of a parallel projection; `spacing` is the
    width of a pixel in scene units. Slopes are `-n_x / n_z` and `-n_y / n_z`, averaged between the two pixels. Each
    connected part is known up to a constant: its mean is 0; outside the mask heights are 0. Raises ValueError for an
    empty mask. Source: method card representations 10.4, point 2 (least squares instead of Unique3D's rotated sums).
    """
    if not mask.any():
        raise ValueError("there is nothing to integrate: the mask is empty")
    n = normals.double().cpu()
    toward = n[..., 2].clamp_min(STEEPEST)
    across, up = -n[..., 0] / toward, -n[..., 1] / toward
    inside = mask.cpu()
    number = torch.full(inside.shape, -1, dtype=torch.long)
    number[inside] = torch.arange(int(inside.sum()))
    # Rows count downwards, heights' y upwards: the lower neighbour comes first.
    right = _pairs(number, across, 1, slice(None, -1), slice(1, None))
    above = _pairs(number, up, 0, slice(1, None), slice(None, -1))
    first, second, slope = (torch.cat(parts) for parts in zip(right, above, strict=True))
    rows = np.arange(len(first))
    entries = np.concatenate([np.full(len(first), -1.0), np.ones(len(first))])
    place = (np.concatenate([rows, rows]), np.concatenate([first.numpy(), second.numpy()]))
    system = coo_array((entries, place), shape=(len(first), int(inside.sum())))
    # From zero, least squares finds the shortest of all solutions: the one whose parts have mean 0.
    height = lsqr(system, (spacing * slope).numpy(), atol=1e-12, btol=1e-12, iter_lim=10_000)[0]
    image = torch.zeros(inside.shape, dtype=torch.float64)
    image[inside] = torch.from_numpy(height)
    return image.to(normals)


def _pairs(number: Tensor, slope: Tensor, axis: int, low: slice, high: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours along an axis that are both inside, and the slope between them."""
    first, second = (slice(None), low), (slice(None), high)
    if axis == 0:
        first, second = (low, slice(None)), (high, slice(None))
    both = (number[first] >= 0) & (number[second] >= 0)
    return number[first][both], number[second][both], ((slope[first] + slope[second]) / 2)[both]
