"""Tidy a raw iso-surface: drop crumbs, close holes, smooth, decimate (through pymeshlab)."""

# pyright: reportAttributeAccessIssue=false
# pymeshlab's names come from a binary module that type checkers cannot read.

import numpy as np
import pymeshlab
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dreamkit.mesh import Mesh


def clean_surface(
    mesh: Mesh, faces: int | None = 20_000, smoothing: int = 2, smallest: float = 0.01, holes: int = 30
) -> Mesh:
    """A closed, light surface: the shape of `mesh` without colours or texture coordinates.

    Merges equal vertices, removes degenerate, duplicate and non-manifold faces, drops components with less than
    `smallest` of the largest one's faces, closes holes of up to `holes` edges, smooths by `smoothing` rounds of
    Taubin's filter (0.5, -0.53: keeps the volume) and decimates to `faces` by quadrics that keep topology and boundary
    (None keeps all). Source: card rep 8.1. Raises ValueError when nothing is left.
    """
    lab = _to_lab(mesh)
    lab.meshing_merge_close_vertices(threshold=pymeshlab.PercentageValue(1e-4))
    lab.meshing_remove_duplicate_faces()
    lab.meshing_remove_null_faces()
    lab = _drop_components(lab, smallest)
    _repair(lab, holes)
    if smoothing > 0:
        lab.apply_coord_taubin_smoothing(lambda_=0.5, mu=-0.53, stepsmoothnum=smoothing)
    if faces is not None and lab.current_mesh().face_number() > faces:
        _decimate(lab, faces)
        _repair(lab, holes)
    lab.meshing_remove_unreferenced_vertices()
    if lab.current_mesh().face_number() == 0:
        raise ValueError(f"cleaning left no faces of the {len(mesh.faces)} given; lower smallest={smallest}")
    return _from_lab(lab, mesh)


def _repair(lab: pymeshlab.MeshSet, holes: int) -> None:
    lab.meshing_repair_non_manifold_edges()
    lab.meshing_repair_non_manifold_vertices()
    if holes > 0:
        lab.meshing_close_holes(maxholesize=holes)


def _decimate(lab: pymeshlab.MeshSet, faces: int) -> None:
    lab.meshing_decimation_quadric_edge_collapse(
        targetfacenum=faces, preserveboundary=True, preservenormal=True, preservetopology=True, planarquadric=True
    )


def _drop_components(lab: pymeshlab.MeshSet, smallest: float) -> pymeshlab.MeshSet:
    """Keep the components with at least `smallest` of the largest one's faces."""
    mesh = _arrays(lab)
    label = _components(mesh[1], len(mesh[0]))[mesh[1][:, 0]]
    sizes = np.bincount(label)
    keep = sizes[label] >= smallest * sizes.max(initial=0)
    kept = pymeshlab.MeshSet()
    kept.add_mesh(pymeshlab.Mesh(vertex_matrix=mesh[0], face_matrix=mesh[1][keep]))
    kept.meshing_remove_unreferenced_vertices()
    return kept


def _components(faces: np.ndarray, vertices: int) -> np.ndarray:
    """Component number of each vertex."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(vertices, vertices))
    return connected_components(graph, directed=False)[1]


def _to_lab(mesh: Mesh) -> pymeshlab.MeshSet:
    lab = pymeshlab.MeshSet()
    vertices, faces = mesh.vertices.detach().cpu().double().numpy(), mesh.faces.cpu().numpy()
    lab.add_mesh(pymeshlab.Mesh(vertex_matrix=vertices, face_matrix=faces))
    return lab


def _from_lab(lab: pymeshlab.MeshSet, like: Mesh) -> Mesh:
    vertices, faces = _arrays(lab)
    return Mesh(torch.from_numpy(vertices).to(like.vertices), torch.from_numpy(faces).to(like.faces))


def _arrays(lab: pymeshlab.MeshSet) -> tuple[np.ndarray, np.ndarray]:
    mesh = lab.current_mesh()
    return np.ascontiguousarray(mesh.vertex_matrix()), np.ascontiguousarray(mesh.face_matrix().astype(np.int64))
