"""A cloud of Gaussians asked as a volume: density and features at any points."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

REACH = 3.5
"A Gaussian is left out where it is farther than this many standard deviations: below 0.0022 of its peak."
CROWD = 256
"Points for which one list of neighbours is made."
FINEST = 32
"Most cells along a side of the cube for those lists."
PAIRS = 1 << 22
"Pairs of a point and a Gaussian that are held at a time."


@dataclass(frozen=True)
class Blobs:
    """Gaussians as densities: `exp(height - (x - centre)^T precision (x - centre) / 2)`."""

    centre: Float[Tensor, "gaussians 3"]
    precision: Float[Tensor, "gaussians 3 3"]
    "Inverse covariance."
    height: Float[Tensor, " gaussians"]
    "Logarithm of the peak density."
    reach: Float[Tensor, "gaussians 3"]
    "Half the box outside which the Gaussian is left out."


def blobs(
    positions: Float[Tensor, "gaussians 3"],
    deviations: Float[Tensor, "gaussians 3"],
    rotations: Float[Tensor, "gaussians 3 3"],
    opacities: Float[Tensor, " gaussians"],
) -> Blobs:
    """Densities whose optical depth through the middle is the opacity's: `sigma_0 = -ln(1 - o) / (s sqrt(2 pi))`.

    s is the geometric mean of the deviations; exact for round Gaussians (card 1.9).
    """
    size = deviations.log().mean(dim=-1).exp()
    peak = -torch.log1p(-opacities.clamp(1e-8, 0.999)) / (size * math.sqrt(2 * math.pi))
    reach = REACH * (rotations * deviations.unsqueeze(-2)).detach().square().sum(dim=-1).sqrt()
    precision = (rotations / deviations.square().unsqueeze(-2)) @ rotations.transpose(1, 2)
    return Blobs(positions, precision, peak.log(), reach)


def density_of(cloud: Blobs, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
    """`sigma(x) = sum_i peak_i exp(-d_i(x)^2 / 2)`, per scene unit."""
    found = points.new_zeros(len(points))
    for rows, members in crowds(cloud, points):
        found = found.index_put((rows,), _weights(cloud, points[rows], members).sum(dim=-1))
    return found


def features_of(
    cloud: Blobs, points: Float[Tensor, "points 3"], features: Float[Tensor, "gaussians channels"]
) -> Float[Tensor, "points channels"]:
    """Mean of the Gaussians' features, weighted by their densities; the nearest centre's where there is no density."""
    found = points.new_zeros(len(points), features.shape[-1])
    lonely = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for rows, members in crowds(cloud, points):
        weights = _weights(cloud, points[rows], members)
        total = weights.sum(dim=-1, keepdim=True)
        found = found.index_put((rows,), weights @ features[members] / total.clamp_min(1e-8))
        lonely[rows] = total.squeeze(-1) <= 1e-8
    rest = lonely.nonzero().squeeze(-1)
    if len(rest) and len(features):
        part = max(PAIRS // len(features), 1)
        nearest = [torch.cdist(some, cloud.centre.detach()).argmin(dim=-1) for some in points[rest].split(part)]
        found = found.index_put((rest,), features[torch.cat(nearest)])
    return found


@torch.no_grad()
def crowds(
    cloud: Blobs, points: Float[Tensor, "points 3"]
) -> Iterator[tuple[Int[Tensor, " rows"], Int[Tensor, " members"]]]:
    """Groups of neighbouring points, each with the Gaussians that reach its cell; those that none reaches are left out.

    Cells are cubes, some `CROWD` points each if they fill their box evenly.
    """
    if not len(points) or not len(cloud.centre):
        return
    points = points.detach()
    low, high = points.amin(dim=0), points.amax(dim=0)
    side = min(max(round((len(points) / CROWD) ** (1 / 3)), 1), FINEST)
    cell = float((high - low).max()) / side + 1e-6
    place = ((points - low) / cell).long()
    flat = (place[:, 0] * (side + 1) + place[:, 1]) * (side + 1) + place[:, 2]
    order = flat.argsort(stable=True)
    used, counts = torch.unique_consecutive(flat[order], return_counts=True)
    index = torch.stack([used // (side + 1) ** 2, used // (side + 1) % (side + 1), used % (side + 1)], dim=-1)
    middle = low + (index + 0.5) * cell
    for rows, here in zip(order.split(counts.tolist()), middle, strict=True):
        members = ((cloud.centre - here).abs() <= cloud.reach + 0.5 * cell).all(dim=-1).nonzero().squeeze(-1)
        if len(members):
            for part in rows.split(max(PAIRS // len(members), 1)):
                yield part, members


def _weights(
    cloud: Blobs, points: Float[Tensor, "points 3"], members: Int[Tensor, " members"]
) -> Float[Tensor, "points members"]:
    """Densities of the members at the points: the exponent is a polynomial in x, so one matrix product finds all."""
    # Counted from among the points: far from the origin, differences of large numbers would lose digits.
    origin = points.detach().mean(dim=0)
    precision, centre = cloud.precision[members], cloud.centre[members] - origin
    linear = torch.einsum("mij,mj->mi", precision, centre)
    constant = cloud.height[members] - 0.5 * (linear * centre).sum(dim=-1)
    square, mixed = precision.diagonal(dim1=1, dim2=2), precision[:, [0, 0, 1], [1, 2, 2]]
    x = points - origin
    terms = torch.cat([x, x * x, x[:, [0, 0, 1]] * x[:, [1, 2, 2]]], dim=-1)
    factors = torch.cat([linear, -0.5 * square, -mixed], dim=-1)
    return torch.addmm(constant, terms, factors.T).exp()
