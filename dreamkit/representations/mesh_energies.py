"""How smooth and how even a mesh is: one function for each energy, with its closed form in the tests.

Pure functions that return one number. Source: method card representations 7.5, unless a function says otherwise.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dreamkit.mesh import Mesh
from dreamkit.vectors import dot, normalize


def normal_consistency(mesh: Mesh) -> Float[Tensor, ""]:
    """Neighbouring vertices face alike: `mean over edges of 1 - cos(n_i, n_j)` of the vertex normals (Magic3D)."""
    edges = mesh.edges.ends
    normals = normalize(mesh.vertex_normals)
    return _mean(1 - dot(normals[edges[:, 0]], normals[edges[:, 1]]))


def face_consistency(mesh: Mesh) -> Float[Tensor, ""]:
    """Neighbouring faces face alike: `mean over shared edges of (1 - n_0 n_1) / 2`; 1/2 for a cube cut along its edges.

    Source: nvdiffrec (arXiv 2111.12503).
    """
    pairs, normals = mesh.edges.faces[mesh.edges.count == 2], mesh.face_normals
    return _mean((1 - dot(normals[pairs[:, 0]], normals[pairs[:, 1]])) / 2)


def laplacian(mesh: Mesh) -> Float[Tensor, ""]:
    """Vertices lie in the middle of their neighbours: `mean |v - mean(neighbours)|^2`, in squared scene units."""
    edges = mesh.edges.ends
    return _mean((mesh.vertices - neighbour_mean(mesh.vertices, edges)).square().sum(dim=-1))


def neighbour_mean(
    values: Float[Tensor, "vertices channels"], edges: Int[Tensor, "edges 2"]
) -> Float[Tensor, "vertices channels"]:
    """Mean over the other ends of a vertex's edges; a vertex without edges keeps its own value."""
    ends = torch.cat([edges, edges.flip(1)])
    count = torch.bincount(ends[:, 0], minlength=len(values)).unsqueeze(-1)
    total = torch.zeros_like(values).index_add(0, ends[:, 0], values[ends[:, 1]])
    return torch.where(count > 0, total / count.clamp_min(1), values)


def bending(mesh: Mesh) -> Float[Tensor, ""]:
    """Integral of the squared mean curvature H, from the cotangent Laplacian; 4 pi for a sphere of any size.

    `sum_i |L_i|^2 / (4 A_i)`, `L_i = 1/2 sum_j (cot a_ij + cot b_ij) (v_j - v_i)`, A_i a third of the adjacent area.
    Angles are kept off degenerate triangles by a floor of 1e-8 of the squared edges. Source: Meyer et al.,
    "Discrete differential-geometry operators" (2003), with barycentric instead of mixed areas.
    """
    corners, faces = mesh.corners, mesh.faces
    flow, area = torch.zeros_like(mesh.vertices), mesh.vertices.new_zeros(len(mesh.vertices))
    double = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double = double.square().sum(dim=-1).clamp_min(1e-16).sqrt()
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        # The angle at corner i faces the edge from j to k.
        cotangent = dot(corners[:, j] - corners[:, i], corners[:, k] - corners[:, i]) / double.unsqueeze(-1)
        pull = 0.5 * cotangent * (corners[:, k] - corners[:, j])
        flow = flow.index_add(0, faces[:, j], pull).index_add(0, faces[:, k], -pull)
        area = area.index_add(0, faces[:, i], double / 6)
    return (flow.square().sum(dim=-1) / (4 * area.clamp_min(1e-12))).sum()


def edge_length(mesh: Mesh) -> Float[Tensor, ""]:
    """Mean squared length of the edges, in squared scene units: pulls slivers together, and shrinks."""
    edges = mesh.edges.ends
    return _mean((mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]]).square().sum(dim=-1))


def sign_change(pairs: Float[Tensor, "edges 2"]) -> Float[Tensor, ""]:
    """Few edges of a grid are crossed: `mean BCE(sigmoid(s_a), [s_b > 0]) + BCE(sigmoid(s_b), [s_a > 0])`.

    `pairs` are the distances at both ends of the crossed edges. Pulls both ends to the other's side, which dissolves
    shells inside a solid; 2 log 2 where both distances are near zero. Source: nvdiffrec (arXiv 2111.12503).
    """
    other = (pairs.flip(1) > 0).to(pairs)
    return _mean(binary_cross_entropy_with_logits(pairs, other, reduction="none").sum(dim=1))


def _mean(values: Float[Tensor, "*items"]) -> Float[Tensor, ""]:
    """Mean, and zero (with a graph) where there is nothing."""
    return values.sum() / max(values.numel(), 1)
