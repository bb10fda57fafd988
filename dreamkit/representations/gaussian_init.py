"""Where a cloud of Gaussians starts from: a ball, points, a mesh, a field (cards 1.9, 6.5, 6.6, 11.3)."""

import math

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.representations.base import AbstractVolume
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.vectors import normalize

QUERY = 1 << 16
"Points in one query of a field."


def ball_cloud(
    count: int, size: float, opacity: float, channels: int, generator: torch.Generator, degree: int = 0
) -> GaussianCloud:
    """`count` Gaussians, uniform in the ball of radius `size`, as wide as the distance to their neighbours.

    Raw channels are zero: grey, whatever the material. Source: DreamGaussian, arXiv 2309.16653; card 6.6.
    """
    direction = normalize(torch.randn(count, 3, generator=generator))
    reach = size * torch.rand(count, 1, generator=generator) ** (1 / 3)
    return point_cloud(direction * reach, torch.zeros(count, channels), opacity, degree)


def point_cloud(
    points: Float[Tensor, "points 3"],
    features: Float[Tensor, "points channels"],
    opacity: float = 0.1,
    degree: int = 0,
    shrink: float = 1.0,
) -> GaussianCloud:
    """Round Gaussians on points, with standard deviation `shrink` times the root mean square distance to 3 neighbours.

    Raises ValueError for fewer than two points, because one has no neighbour. Source: arXiv 2308.04079; card 6.5.
    """
    if len(points) < 2:
        raise ValueError(f"a cloud needs at least two points, to know how far apart they are; got {len(points)}")
    numbers = points.detach().cpu().double().numpy()
    distance = KDTree(numbers).query(numbers, k=min(4, len(points)))[0][:, 1:]
    spacing = torch.from_numpy(distance**2).mean(dim=1).clamp_min(1e-7).sqrt().to(points)
    scales = (shrink * spacing).log().unsqueeze(-1).expand(-1, 3).clone()
    colors = torch.cat(
        [features.unsqueeze(1), features.new_zeros(len(points), (degree + 1) ** 2 - 1, features.shape[1])], dim=1
    )
    rotations = points.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(points), 4).clone()
    return GaussianCloud(points.clone(), scales, rotations, _logits(points, opacity), colors)


def mesh_cloud(
    mesh: Mesh, features: Float[Tensor, "points channels"], generator: torch.Generator, opacity: float = 0.9
) -> GaussianCloud:
    """Flat Gaussians spread over a mesh by area, one for each row of `features` (`sample_surface` gives the places).

    With spacing `h = sqrt(A / N)`: deviations 0.6 h along the surface, 0.1 h across it, third axis along the normal.
    `generator` must be in the state that it had for `sample_surface`. Source: card 11.3 (d).
    """
    points, normals = sample_surface(mesh, len(features), generator)
    area = 0.5 * torch.linalg.cross(*_edges(mesh)).norm(dim=-1).sum()
    spacing = float((area / len(features)).sqrt())
    deviations = points.new_tensor([0.6, 0.6, 0.1]) * spacing
    scales = deviations.log().expand(len(points), 3).clone()
    return GaussianCloud(points, scales, facing(normals), _logits(points, opacity), features.unsqueeze(1).clone())


def sample_surface(
    mesh: Mesh, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """Points and unit normals, uniform over the surface. Raises ValueError for a mesh without area."""
    first, second = _edges(mesh)
    area = torch.linalg.cross(first, second).norm(dim=-1)
    if not float(area.sum()) > 0:
        raise ValueError(f"a mesh without area has no points on it; it has {len(mesh.faces)} faces")
    face = torch.multinomial(area.cpu(), count, replacement=True, generator=generator).to(area.device)
    u, v = torch.rand(2, count, 1, generator=generator).to(first)
    # Points of the parallelogram's other half are folded back into the triangle.
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    points = mesh.vertices[mesh.faces[face, 0]] + u * first[face] + v * second[face]
    return points, mesh.face_normals[face]


@torch.no_grad()
def field_cloud(
    field: AbstractVolume, count: int, generator: torch.Generator, grid: int = 64, degree: int = 0
) -> GaussianCloud:
    """Round Gaussians where a volume is dense: `o = 1 - exp(-sigma s sqrt(2 pi))`, s the distance to neighbours.

    Cells of a `grid`^3 lattice are drawn by their opacity `1 - exp(-sigma cell)`, and a point uniformly in each. The
    Gaussians of dense insides are hidden, but they keep the volume's own density. Source: card 1.9, "better opacity".
    Raises ValueError for an empty volume.
    """
    cell = 2 * field.radius / grid
    axis = (torch.arange(grid) + 0.5) * cell - field.radius
    middles = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).view(-1, 3)
    chance = -torch.expm1(-torch.cat([field.density(part) for part in middles.split(QUERY)]) * cell)
    if not float(chance.sum()) > 0:
        raise ValueError("the volume is empty, so there is nowhere to put a Gaussian; train it first")
    chosen = torch.multinomial(chance.double(), count, replacement=True, generator=generator)
    points = middles[chosen] + (torch.rand(count, 3, generator=generator) - 0.5) * cell
    sigma, features = (
        torch.cat([query(part) for part in points.split(QUERY)]) for query in (field.density, field.features)
    )
    cloud = point_cloud(points, features, degree=degree)
    optical = sigma * cloud.scales[:, 0].exp() * math.sqrt(2 * math.pi)
    opacity = -torch.expm1(-optical.clamp(1e-3, 6))
    return GaussianCloud(cloud.positions, cloud.scales, cloud.rotations, torch.logit(opacity), cloud.colors)


def facing(normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 4"]:
    """The shortest rotations that turn +Z to the normals, as unit quaternions (w, x, y, z)."""
    x, y, z = normals.unbind(dim=-1)
    turned = torch.stack([1 + z, -y, x, torch.zeros_like(z)], dim=-1)
    # Straight down, every axis across serves.
    opposite = normals.new_tensor([0.0, 1.0, 0.0, 0.0])
    return normalize(torch.where((z < -1 + 1e-6).unsqueeze(-1), opposite, turned))


def _edges(mesh: Mesh) -> tuple[Float[Tensor, "faces 3"], Float[Tensor, "faces 3"]]:
    a, b, c = mesh.corners.unbind(dim=1)
    return b - a, c - a


def _logits(points: Float[Tensor, "points 3"], opacity: float) -> Float[Tensor, " points"]:
    return torch.logit(torch.full_like(points[:, 0], opacity))
