"""The toy world: every kind of object as a solid of known geometry, paint and pose, and its pictures.

Because the world is ours, its ground truth is: `build` gives the exact surface that a caption speaks of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.cameras import Cameras
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import Fragments, rasterize
from dreamkit.toybox import creatures, things, vehicles
from dreamkit.toybox.paint import COLORS, FIXED, lit, patterned
from dreamkit.toybox.shapes import Part
from dreamkit.vectors import middle_and_reach, normalize

KINDS: dict[str, Callable[[], list[Part]]] = {
    name: cast("Callable[[], list[Part]]", builder)
    for room in (creatures, vehicles, things)
    for name, builder in vars(room).items()
    if callable(builder) and getattr(builder, "__module__", None) == room.__name__ and not name.startswith("_")
}
"Name of each kind of object and the function that builds its parts."

FRONTED = (
    *(name for name in KINDS if KINDS[name].__module__ == creatures.__name__),
    "car", "bus", "train", "airplane", "house", "chair", "television", "clock",
)  # fmt: skip
"Kinds whose front nobody could mistake; Janus faces are counted on these."

RADIUS = 0.85
"Every object is centred on the origin and fits a ball of this radius."


@dataclass(frozen=True)
class ToyObject:
    """One object's triangles, in glTF axes."""

    vertices: Float[Tensor, "vertices 3"]
    normals: Float[Tensor, "vertices 3"]
    "Shading normals: smooth on curved parts, split at creases."
    faces: Int[Tensor, "faces 3"]
    role: Int[Tensor, " faces"]
    "Index into `roles`, for each face."
    roles: tuple[str, ...]
    part: Int[Tensor, " faces"]
    "Index of the closed solid that a face belongs to."

    def mesh(self) -> Mesh:
        """The bare geometry."""
        return Mesh(self.vertices, self.faces)


@dataclass(frozen=True)
class Look:
    """What a caption can say about an object, apart from its kind."""

    color: str
    pattern: str | None = None


@cache
def _triangles(kind: str) -> ToyObject:
    parts = KINDS[kind]()
    roles = tuple(sorted({part.role for part in parts}))
    # Creases sharper than this stay creases; a 28-sided cylinder turns by 13 degrees a side.
    smooth = [trimesh.graph.smooth_shade(part.solid, angle=0.6) for part in parts]
    offsets = torch.tensor([0, *[len(solid.vertices) for solid in smooth]]).cumsum(0)
    vertices = torch.cat([torch.tensor(solid.vertices, dtype=torch.float32) for solid in smooth])
    faces = [torch.tensor(solid.faces) + offset for solid, offset in zip(smooth, offsets, strict=False)]
    return ToyObject(
        vertices=_fitted(vertices),
        normals=normalize(torch.cat([torch.tensor(solid.vertex_normals, dtype=torch.float32) for solid in smooth])),
        faces=torch.cat(faces),
        role=torch.cat([torch.full((len(f),), roles.index(p.role)) for f, p in zip(faces, parts, strict=True)]),
        roles=roles,
        part=torch.cat([torch.full((len(f),), index) for index, f in enumerate(faces)]),
    )


def _fitted(vertices: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 3"]:
    middle, reach = middle_and_reach(vertices)
    return (vertices - middle) * (RADIUS / reach)


def build(kind: str, stretch: Float[Tensor, "3"] | None = None) -> ToyObject:
    """The object of this kind, with its axes stretched by `stretch` where given.

    Raises KeyError for a kind that the world does not know.
    """
    toy = _triangles(kind)
    if stretch is None:
        return toy
    vertices = _fitted(toy.vertices * stretch)
    return ToyObject(vertices, normalize(toy.normals / stretch), toy.faces, toy.role, toy.roles, toy.part)


def picture(
    toy: ToyObject, look: Look, cameras: Cameras, background: Float[Tensor, "batch 3"], supersample: int = 2
) -> tuple[Float[Tensor, "batch height width 3"], Float[Tensor, "batch height width 1"]]:
    """Colour and coverage of an object seen by `cameras`, over one background colour for each view."""
    fine = cameras.resized(cameras.height * supersample, cameras.width * supersample)
    fragments = rasterize(toy.vertices, toy.faces, fine, cull=True)
    mask = fragments.mask
    color = background[:, None, None, :].expand(*mask.shape[:3], 3).clone()
    hit = mask.squeeze(-1) > 0
    color[hit] = _shaded(toy, look, fine, fragments, hit)
    return _pooled(color, supersample), _pooled(mask, supersample)


def _shaded(toy: ToyObject, look: Look, cameras: Cameras, fragments: Fragments, hit: Tensor) -> Tensor:
    corners, weights = toy.faces[fragments.triangle[hit]], fragments.barycentric[hit].unsqueeze(-1)
    points = (toy.vertices[corners] * weights).sum(dim=1)
    normals = normalize((toy.normals[corners] * weights).sum(dim=1))
    view = normalize(cameras.position[hit.nonzero()[:, 0]] - points)
    role = toy.role[fragments.triangle[hit]]
    albedo = torch.tensor([FIXED.get(name, (0.0, 0.0, 0.0)) for name in toy.roles])[role]
    body = (role == toy.roles.index("body")).unsqueeze(-1) if "body" in toy.roles else torch.zeros(len(role), 1).bool()
    painted = patterned(points, torch.tensor(COLORS[look.color]), look.pattern)
    shiny = body.float() * float(look.pattern == "metallic")
    return lit(torch.where(body, painted, albedo), normals, view, shiny)


def _pooled(image: Float[Tensor, "batch height width channels"], factor: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
