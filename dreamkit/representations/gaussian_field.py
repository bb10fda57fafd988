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
    """Gaussians as densities: `peak exp(-|whiten (x - centre)|^2 / 2)`."""

    centre: Float[Tensor, "gaussians 3"]
    whiten: Float[Tensor, "gaussians 3 3"]
    "`diag(1 / s) R^T`: to units of the standard deviations."
    peak: Float[Tensor, " gaussians"]
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
    peak = -torch.log1p(-opacities.clamp(max=0.999)) / (size * math.sqrt(2 * math.pi))
    axes = rotations * deviations.unsqueeze(-2)
    reach = REACH * axes.detach().square().sum(dim=-1).sqrt()
    whiten = rotations.transpose(1, 2) / deviations.unsqueeze(-1)
    return Blobs(positions, whiten, peak, reach)


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
    whiten = cloud.whiten[members]
    # Distances from the first member: far from the origin, differences of large numbers would lose digits.
    origin = cloud.centre[members[:1]].detach()
    shift = torch.einsum("mij,mj->mi", whiten, cloud.centre[members] - origin)
    distance = ((points - origin) @ whiten.flatten(0, 1).T).view(len(points), len(members), 3) - shift
    return cloud.peak[members] * torch.exp(-0.5 * distance.square().sum(dim=-1))
