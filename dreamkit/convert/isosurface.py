"""From a density to triangles: coarse-to-fine marching cubes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from skimage.measure import marching_cubes
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.vectors import normalize

Density = Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]
"Volume density (1 / length) at world points."

CHUNK = 1 << 18
"Points in one query of a field: bounds the memory of a 128^3 grid."


class EmptySurface(ValueError):
    """A density has no surface at the level asked for; the message says what to try."""


@dataclass(frozen=True)
class DensityGrid:
    """Densities at the corners of cubic cells."""

    values: Float[Tensor, "x y z"]
    low: Float[Tensor, "3"]
    "Position of the first corner."
    cell: float
    "Side of a cell."


def sample_density(density: Density, low: Float[Tensor, "3"], high: Float[Tensor, "3"], cells: int) -> DensityGrid:
    """Density on a grid of cubic cells over a box, `cells` along its longest side, without a graph.

    Cubes rather than stretched boxes: a flat object then costs fewer points, and its triangles are well shaped.
    """
    cell = float((high - low).max()) / cells
    counts = [int(count) + 1 for count in ((high - low) / cell - 1e-4).ceil()]
    axes = [low[i] + cell * torch.arange(counts[i], dtype=low.dtype, device=low.device) for i in range(3)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)
    with torch.no_grad():
        values = torch.cat([density(part).to(points.dtype) for part in points.split(CHUNK)])
    return DensityGrid(values.view(*counts), low, cell)


def surface_at(grid: DensityGrid, level: float) -> Mesh:
    """Marching cubes (Lewiner's, as in scikit-image) at density = level, closed at the border of the box.

    The level set is found in `clamp(log(density / level), -2, 2)`, where exponential and softplus densities are nearly
    straight lines, so vertices lie closer to the true surface than by interpolating the density itself. Marching cubes
    is preferred to `marching_tets` here: the same grid gives a third of the triangles (75 704 against 226 488 for a
    ball on 128^3). Raises EmptySurface.
    """
    if not level > 0:
        raise ValueError(f"the iso-level is a density and must be positive; got {level}")
    highest = float(grid.values.max())
    if not highest > level:
        raise EmptySurface(
            f"the density has no surface at level {level:.4g}: the largest value met is {highest:.4g}. Try a lower "
            "level (or the automatic one), train for more steps, or raise the opacity weight of the recipe."
        )
    field = torch.log(grid.values.clamp_min(level * 1e-9) / level).clamp(-2, 2)
    # A layer of empty cells around the box closes the surface where the density reaches the border.
    padded = torch.nn.functional.pad(field, (1, 1, 1, 1, 1, 1), value=-2.0).cpu().numpy()
    vertices, faces, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent", allow_degenerate=False)
    positions = torch.from_numpy(vertices.astype(np.float64) - 1).to(grid.low) * grid.cell + grid.low
    return Mesh(positions, torch.from_numpy(faces.astype(np.int64)).to(grid.low.device))


def extract_surface(
    density: Density,
    level: float,
    radius: float = 1.0,
    coarse: int = 48,
    fine: int = 128,
    device: torch.device | str = "cpu",
) -> Mesh:
    """The surface density = level inside the cube [-radius, radius]^3.

    A `coarse` grid finds the bounding box; the box plus 10 % is sampled again with `fine` cells along its longest side
    (card rep 8.1). `dreamkit.convert.level` finds a good level. Raises EmptySurface when there is nothing to extract.
    """
    half = torch.full((3,), float(radius), device=device)
    grid = sample_density(density, -half, half, coarse)
    outline = surface_at(grid, level).vertices
    low, high = outline.amin(dim=0), outline.amax(dim=0)
    margin = 0.1 * (high - low) + grid.cell
    box = sample_density(density, (low - margin).maximum(-half), (high + margin).minimum(half), fine)
    return snap(surface_at(box, level), density, level, 0.5 * box.cell)


def snap(mesh: Mesh, density: Density, level: float, reach: float, rounds: int = 6) -> Mesh:
    """Move vertices along their normals onto the level, by bisection within `reach` (scene units) either way.

    Interpolation between grid corners misplaces a steep border by up to a fifth of a cell, always to the same side;
    this brings it to `reach / 2^rounds`. Vertices whose reach does not cross the level stay.
    """
    normals = mesh.vertex_normals
    with torch.no_grad():
        inside, outside = torch.full_like(normals[:, :1], -reach), torch.full_like(normals[:, :1], reach)
        ends = [density(mesh.vertices + end * normals) > level for end in (inside, outside)]
        for _ in range(rounds):
            middle = (inside + outside) / 2
            dense = (density(mesh.vertices + middle * normals) > level).unsqueeze(-1)
            inside, outside = torch.where(dense, middle, inside), torch.where(dense, outside, middle)
    crosses = (ends[0] & ~ends[1]).unsqueeze(-1)
    return replace(mesh, vertices=torch.where(crosses, mesh.vertices + (inside + outside) / 2 * normals, mesh.vertices))


def density_normals(
    density: Density, points: Float[Tensor, "points 3"], step: float = 5e-3
) -> Float[Tensor, "points 3"]:
    """Outward unit normals `-grad sigma / |grad sigma|`, by central differences over `2 step`; zero where flat."""
    offsets = step * torch.eye(3, dtype=points.dtype, device=points.device)
    with torch.no_grad():
        slopes = [density(points - offset) - density(points + offset) for offset in offsets]
    return normalize(torch.stack(slopes, dim=-1).to(points.dtype), eps=1e-12)
