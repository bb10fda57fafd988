"""A textured triangle mesh, and the numbers that describe its shape."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.vectors import dot, middle_and_reach, normalize


@dataclass(frozen=True)
class Edges:
    """Every edge of a mesh once, in ascending order."""

    ends: Int[Tensor, "edges 2"]
    "Both vertices, the smaller one first."
    faces: Int[Tensor, "edges 2"]
    "The first and the last face that it belongs to: the same one twice at a border."
    count: Int[Tensor, " edges"]
    "Number of faces that it belongs to; 2 inside a manifold surface."


@dataclass(frozen=True)
class Mesh:
    """Triangles in glTF axes (+Y up, front +Z), counter-clockwise seen from outside.

    Positions and texture coordinates have their own index lists, so a seam in the texture does not cut the surface.
    """

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    "Indices into `vertices`."
    uv: Float[Tensor, "coordinates 2"] | None = None
    "Texture coordinates; (0, 0) is the top-left corner of the texture, as in glTF."
    uv_faces: Int[Tensor, "faces 3"] | None = None
    "Indices into `uv`; given exactly when `uv` is."
    texture: Float[Tensor, "height width 3"] | None = None
    "Display (sRGB-encoded) base colour."
    vertex_color: Float[Tensor, "vertices 3"] | None = None
    "Display colour at the vertices, for meshes without a texture."
    unlit: bool = True
    "True where the light is baked into the colour, so that viewers must not light it again."
    roughness: float = 1.0
    metallic: float = 0.0
    orm: Float[Tensor, "orm_height orm_width 3"] | None = None
    "Linear occlusion, roughness and metallic over the same coordinates; stands in for the two numbers."
    normal_map: Float[Tensor, "map_height map_width 3"] | None = None
    "Tangent-space normals as `(n + 1) / 2`: x to the right of the texture, y to its top, z outwards (glTF)."

    def __post_init__(self) -> None:
        if (self.uv is None) != (self.uv_faces is None):
            raise ValueError("a Mesh needs uv and uv_faces together, or neither; got only one of them")
        for name in ("texture", "orm", "normal_map"):
            if getattr(self, name) is not None and self.uv is None:
                raise ValueError(f"a Mesh with a texture needs uv and uv_faces to place it; got {name} alone")

    @property
    def corners(self) -> Float[Tensor, "faces 3 3"]:
        """The three positions of each triangle."""
        return self.vertices[self.faces]

    @property
    def face_normals(self) -> Float[Tensor, "faces 3"]:
        """Unit normals; zero for degenerate triangles."""
        return normalize(self._area_vectors())

    @property
    def vertex_normals(self) -> Float[Tensor, "vertices 3"]:
        """Area-weighted mean of the adjacent faces' normals, unit length."""
        area = self._area_vectors()
        total = torch.zeros_like(self.vertices)
        for corner in range(3):
            total = total.index_add(0, self.faces[:, corner], area)
        return normalize(total)

    @cached_property
    def edges(self) -> Edges:
        """The edges, found once for all that ask."""
        return find_edges(self.faces)

    @property
    def euler_characteristic(self) -> int:
        """V - E + F over the vertices in use: 2 for a sphere, 0 for a torus."""
        return len(self.faces.unique()) - len(self.edges.ends) + len(self.faces)

    @property
    def volume(self) -> float:
        """Enclosed volume, `sum det(a, b, c) / 6`; positive when the faces point outwards."""
        a, b, c = self.corners.detach().double().unbind(dim=1)
        return float(dot(a, torch.linalg.cross(b, c)).sum() / 6)

    def fitted(self, radius: float = 0.85) -> "Mesh":
        """The mesh as one puts it before a camera: its box around the origin, its farthest vertex at `radius`.

        Raises ValueError for a mesh without extent.
        """
        used = self.vertices[self.faces.unique()]
        if not len(used) or not (used.amax(dim=0) > used.amin(dim=0)).any():
            raise ValueError(f"a mesh without extent cannot be fitted; it has {len(used)} vertices in use")
        middle, reach = middle_and_reach(used)
        return replace(self, vertices=(self.vertices - middle) * (radius / reach))

    def _area_vectors(self) -> Float[Tensor, "faces 3"]:
        a, b, c = self.corners.unbind(dim=1)
        return torch.linalg.cross(b - a, c - a)


def find_edges(faces: Int[Tensor, "faces 3"]) -> Edges:
    """All edges of some faces."""
    keys, order = edge_keys(faces).view(-1).sort(stable=True)
    unique, count = keys.unique_consecutive(return_counts=True)
    end, owner = count.cumsum(0), order // 3
    base = _base(faces)
    ends = torch.stack([unique // base, unique % base], dim=1)
    return Edges(ends, torch.stack([owner[end - count], owner[end - 1]], dim=1), count)


def edge_keys(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "faces 3"]:
    """One integer for the edge from each corner to the next, the same from both sides.

    `smaller (largest + 1) + larger`: sorting integers is much faster than sorting pairs.
    """
    following = faces.roll(-1, dims=1)
    return torch.minimum(faces, following) * _base(faces) + torch.maximum(faces, following)


def _base(faces: Int[Tensor, "faces 3"]) -> int:
    return int(faces.max()) + 1 if faces.numel() else 1
