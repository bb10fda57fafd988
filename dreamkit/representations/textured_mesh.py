"""Triangles with a texture, as artists keep them: corners and texels can be learnt, topology stays."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.mesh import Mesh
from dreamkit.ops.texture import sample_texture
from dreamkit.representations.base import AbstractSurface, ParameterGroup
from dreamkit.representations.nearest_point import barycentric, nearest_point
from dreamkit.vectors import normalize

INITIAL_SPREAD = 0.02
"Standard deviation of fresh texels."
MARGIN = 0.02
"Between the charts of the ball, as a share of a chart."


class TexturedMesh(AbstractSurface):
    """`features(x) = T(uv(x))`: raw material channels in a square texture T, bilinear, on triangles.

    It starts as a ball of radius `size`: a cube blown up, with `cells`^2 squares a side, each side a chart;
    `replace_mesh` takes another mesh. Away from the surface a point has the channels of the nearest place on it.
    Gradients reach the texels and, where a renderer found the points, the corners. Raises ValueError for sizes
    without meaning.
    """

    vertices: nn.Parameter
    texels: nn.Parameter
    faces: Tensor
    uv: Tensor
    uv_faces: Tensor

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        texture: int = 256,
        size: float = 0.5,
        cells: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if texture < 2 or cells < 1 or channels < 1 or not 0 < size <= radius:
            raise ValueError(
                f"a TexturedMesh needs texture >= 2, cells >= 1, channels >= 1 and 0 < size <= radius; got "
                f"texture={texture}, cells={cells}, channels={channels}, size={size}, radius={radius}"
            )
        self.radius, self.channels, self.texture = radius, channels, texture
        noise = torch.randn(texture, texture, channels, generator=torch.Generator().manual_seed(seed))
        self.replace_mesh(ball(size, cells), noise * INITIAL_SPREAD)

    def replace_mesh(self, mesh: Mesh, texels: Float[Tensor, "rows columns channels"]) -> None:
        """Take these triangles and raw channels instead. Raises ValueError for a mesh without texture coordinates."""
        if mesh.uv is None or mesh.uv_faces is None:
            raise ValueError("a TexturedMesh needs texture coordinates; call unwrap(mesh) first")
        if texels.shape[-1] != self.channels:
            raise ValueError(f"the texture must have {self.channels} channels; got {texels.shape[-1]}")
        for name, value in {"vertices": mesh.vertices, "texels": texels}.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))
        for name, value in {"faces": mesh.faces, "uv": mesh.uv, "uv_faces": mesh.uv_faces}.items():
            self.register_buffer(name, value.detach().clone())

    def mesh(self, progress: float = 1.0) -> Mesh:
        """The triangles, differentiable in their corners."""
        return Mesh(self.vertices, self.faces)

    def features(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """The texture at the nearest place on the surface; without a gradient in the points."""
        found = nearest_point(self.mesh(), points)
        weights = barycentric(self.vertices.detach()[self.faces[found.face]], found.point)
        return self.features_on(found.point, found.face, weights, progress)

    def features_on(
        self,
        points: Float[Tensor, "points 3"],
        face: Int[Tensor, " points"],
        weights: Float[Tensor, "points 3"],
        progress: float = 1.0,
    ) -> Float[Tensor, "points channels"]:
        """The texture at the coordinates `sum_i w_i uv_i`."""
        uv = (weights.unsqueeze(-1) * self.uv[self.uv_faces[face]]).sum(dim=1)
        return sample_texture(self.texels, uv[None, None])[0, 0]

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """ "geometry" (the corners) and "colors" (the texels)."""
        return ParameterGroup("geometry", (self.vertices,)), ParameterGroup("colors", (self.texels,))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # A stored mesh has its own number of triangles: make room before the values are copied.
        for name in ("vertices", "texels", "faces", "uv", "uv_faces"):
            mine, stored = getattr(self, name), state_dict.get(prefix + name)
            if stored is not None and stored.shape != mine.shape and stored.shape[-1] == mine.shape[-1]:
                mine.data = mine.data.new_empty(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def ball(size: float, cells: int) -> Mesh:
    """A ball of radius `size` as a cube of `cells`^2 squares a side, blown up; the sides lie in three columns and two
    rows of the texture, mirrored nowhere.

    Positions follow the tangent, `x = tan(pi/4 t)`, so that the squares are nearly equal.
    """
    line = torch.linspace(-1, 1, cells + 1)
    across, up = torch.meshgrid(line, line, indexing="ij")
    first = torch.arange((cells + 1) ** 2).view(cells + 1, cells + 1)
    a, b, c, d = (first[i : cells + i, j : cells + j].reshape(-1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    side = torch.cat([torch.stack([a, b, c], dim=-1), torch.stack([a, c, d], dim=-1)])
    positions, coordinates = [], []
    for i in range(6):
        axis, sign = i % 3, 1.0 if i < 3 else -1.0
        bent = torch.tan(across * (torch.pi / 4)).flatten(), torch.tan(up * (torch.pi / 4)).flatten()
        place = torch.zeros(len(bent[0]), 3)
        # Right times up must point outwards: on the far side of the axis the other two change places.
        right, top = ((axis + 1) % 3, (axis + 2) % 3) if sign > 0 else ((axis + 2) % 3, (axis + 1) % 3)
        place[:, axis], place[:, right], place[:, top] = sign, *bent
        positions.append(place)
        chart = torch.stack([across.flatten() + 1, 1 - up.flatten()], dim=-1) / 2 * (1 - 2 * MARGIN) + MARGIN
        coordinates.append((chart + torch.tensor([i % 3, i // 3])) / torch.tensor([3.0, 2.0]))
    uv_faces = torch.cat([side + i * first.numel() for i in range(6)])
    # Sides share the corners along the cube's edges.
    corners, merged = (torch.cat(positions) * 1e5).round().long().unique(dim=0, return_inverse=True)
    return Mesh(normalize(corners.float()) * size, merged[uv_faces], torch.cat(coordinates), uv_faces)
