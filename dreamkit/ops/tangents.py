"""Tangents for normal maps: the same in every program that follows MikkTSpace, as glTF asks.

The algorithm is M. Mikkelsen's, "Simulation of Wrinkled Surfaces Revisited", 2008, section 3.3, and its published
reference; bakers and viewers agree on a normal map only where they agree on these frames.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dreamkit.mesh import Mesh
from dreamkit.vectors import dot, normalize


def corner_tangents(mesh: Mesh) -> Float[Tensor, "faces 3 4"]:
    """For each corner a unit tangent (towards +u, at right angles to the vertex normal) and a sign w = +1 or -1.

    The bitangent (towards the texture's top) is `w cross(n, t)`. A corner's tangent is the mean of its faces', each
    projected onto the normal's plane and weighted by its angle there, over the faces that share the vertex, the
    texture coordinate and the orientation of the chart: mirrored charts meet, but do not mix.
    Raises ValueError without texture coordinates.
    """
    if mesh.uv is None or mesh.uv_faces is None:
        raise ValueError("tangents follow the texture coordinates; call unwrap(mesh) first")
    tangent, upright = _face_tangents(mesh.corners, mesh.uv[mesh.uv_faces])
    normal = mesh.vertex_normals[mesh.faces]
    share = normalize(_project(tangent[:, None], normal)) * _angles(mesh.corners, normal)
    # Corners of one group share vertex, coordinate and orientation.
    key = (mesh.faces * len(mesh.uv) + mesh.uv_faces) * 2 + upright[:, None]
    groups, group = torch.unique(key, return_inverse=True)
    total = share.new_zeros(len(groups), 3).index_add(0, group.reshape(-1), share.reshape(-1, 3))
    mean = normalize(total)[group]
    # A chart without extent has no direction; any one in the plane will do.
    lost = mean.norm(dim=-1, keepdim=True) < 0.5
    sign = torch.where(upright, 1.0, -1.0).to(mean)[:, None, None].expand(-1, 3, 1)
    return torch.cat([torch.where(lost, _any_tangent(normal), mean), sign], dim=-1)


def tangent_frame(
    normal: Float[Tensor, "*points 3"], tangent: Float[Tensor, "*points 4"]
) -> Float[Tensor, "*points 3 3"]:
    """Rows tangent, bitangent and normal, orthonormal, from interpolated normals and tangents."""
    normal = normalize(normal)
    along = normalize(_project(tangent[..., :3], normal))
    across = torch.linalg.cross(normal, along) * torch.where(tangent[..., 3:] < 0, -1.0, 1.0).to(normal)
    return torch.stack([along, across, normal], dim=-2)


def _face_tangents(
    corners: Float[Tensor, "faces 3 3"], uv: Float[Tensor, "faces 3 2"]
) -> tuple[Float[Tensor, "faces 3"], Bool[Tensor, " faces"]]:
    """Unit direction of growing u, and whether the chart shows the face as one sees it from outside."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    s, t = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    # glTF counts v downwards, MikkTSpace upwards: minus the determinant of the rows.
    area = s[:, 1] * t[:, 0] - s[:, 0] * t[:, 1]
    along = s[:, 1:] * b - t[:, 1:] * a
    return normalize(along * area.sign().unsqueeze(-1), eps=1e-18), area > 0


def _angles(corners: Float[Tensor, "faces 3 3"], normal: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 3 1"]:
    """Angle between the two edges at each corner, in the plane of the vertex normal; radians."""
    ahead = normalize(_project(corners.roll(-1, dims=1) - corners, normal), eps=1e-18)
    back = normalize(_project(corners.roll(1, dims=1) - corners, normal), eps=1e-18)
    return torch.acos(dot(ahead, back).clamp(-1, 1))


def _project(vector: Float[Tensor, "*#points 3"], normal: Float[Tensor, "*#points 3"]) -> Float[Tensor, "*#points 3"]:
    return vector - dot(vector, normal) * normal


def _any_tangent(normal: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
    flat = normal.abs().argmin(dim=-1, keepdim=True)
    axis = torch.zeros_like(normal).scatter(-1, flat, 1.0)
    return normalize(_project(axis, normal))
