"""A mesh whose vertices descend and whose triangles are renewed as they go: coarse while it moves, then fine."""

# pyright: reportAttributeAccessIssue=false
# pymeshlab's names come from a binary module that type checkers cannot read.

import numpy as np
import pymeshlab
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from dreamkit.mesh import Mesh, find_edges
from dreamkit.representations.mesh_energies import neighbour_mean


class RemeshingOptimizer:
    """Adam with one second moment a vertex, steps measured in edge lengths, then isotropic remeshing.

    `m1, m2` are running means of g and |g|^2 with unbiased rates `k = (1 - beta) / (1 - beta^step)`, beta = 0.8; the
    velocity is `u = m1 / sqrt(m2)`, the step `rate min(1, step (1 - beta) / ramp) l u`; before, g gains
    `smoothing |u| (p - mean of neighbours)`. The edge length l, one for all, is multiplied by
    `1 + gain (mean |u| - 0.3)` within `limits`: what moves fast stays coarse. Triangles are renewed by MeshLab's
    explicit remeshing (Botsch and Kobbelt 2004: split, collapse, flip, relax); the moments go to the new vertices from
    the nearest old ones. Sources: Palfinger, "Continuous remeshing for inverse rendering" (2022); card rep 10.3.
    """

    def __init__(
        self,
        mesh: Mesh,
        rate: float = 0.3,
        limits: tuple[float, float] = (0.03, 0.12),
        smoothing: float = 0.02,
        gain: float = 0.1,
        ramp: float = 5.0,
        every: int = 5,
    ) -> None:
        if not 0 < limits[0] <= limits[1] or every < 1 or not rate > 0:
            raise ValueError(
                f"remeshing needs 0 < limits[0] <= limits[1], every >= 1 and rate > 0; got limits={limits}, "
                f"every={every}, rate={rate}"
            )
        self.rate, self.limits, self.smoothing = rate, limits, smoothing
        self.gain, self.ramp, self.every = gain, ramp, every
        self.length, self.count = limits[1], 0
        self.vertices = mesh.vertices.detach().clone().requires_grad_()
        self.faces = mesh.faces
        self.mean = torch.zeros_like(self.vertices)
        self.square = torch.zeros_like(self.vertices[:, :1])
        self.speed = torch.zeros_like(self.vertices[:, :1])

    @property
    def mesh(self) -> Mesh:
        """The mesh as it stands; its vertices are the leaf that losses are differentiated in."""
        return Mesh(self.vertices, self.faces)

    def step(self) -> None:
        """Descend along the gradient that lies in `vertices.grad`, and renew the triangles every so often."""
        if self.vertices.grad is None:
            raise ValueError("there is no gradient yet; call backward on a loss of `mesh` first")
        self.count += 1
        with torch.no_grad():
            self._descend(self.vertices.grad)
        self.vertices = self.vertices.detach()
        if self.count % self.every == 0:
            self._renew()
        self.vertices.requires_grad_()

    def _descend(self, gradient: Float[Tensor, "vertices 3"]) -> None:
        middle = neighbour_mean(self.vertices, find_edges(self.faces).ends)
        # A vertex's pull to its neighbours counts in units of its gradient, as its velocity does.
        scale = self.square.sqrt().clamp_min(1e-12) / self.length
        gradient = gradient + self.smoothing * self.speed * scale * (self.vertices - middle)
        if self.count > 1:
            bound = 10 * self.mean.abs() + 1e-12
            gradient = gradient.clamp(-bound, bound)
        k = 0.2 / (1 - 0.8**self.count)
        self.mean = torch.lerp(self.mean, gradient, k)
        self.square = torch.lerp(self.square, gradient.square().sum(dim=-1, keepdim=True), k)
        velocity = self.mean / (self.square.sqrt() + 1e-12)
        self.speed = velocity.norm(dim=-1, keepdim=True)
        self.vertices -= self.rate * min(1.0, self.count * 0.2 / self.ramp) * self.length * velocity
        factor = 1 + self.gain * (float(self.speed.mean()) - 0.3)
        self.length = min(max(self.length * factor, self.limits[0]), self.limits[1])

    def _renew(self) -> None:
        old = self.vertices.double().cpu().numpy()
        vertices, faces = remeshed(old, self.faces, self.length)
        nearest = torch.from_numpy(KDTree(old).query(vertices)[1]).to(self.faces.device)
        self.vertices = torch.from_numpy(vertices).to(self.mean)
        self.faces = faces
        self.mean, self.square, self.speed = self.mean[nearest], self.square[nearest], self.speed[nearest]


def remeshed(vertices: np.ndarray, faces: Int[Tensor, "faces 3"], length: float) -> tuple[np.ndarray, Tensor]:
    """The same surface in triangles with edges of about `length`: two rounds of split, collapse, flip and relax."""
    lab = pymeshlab.MeshSet()
    lab.add_mesh(pymeshlab.Mesh(vertex_matrix=vertices, face_matrix=faces.cpu().numpy()))
    lab.meshing_isotropic_explicit_remeshing(
        iterations=2, targetlen=pymeshlab.PureValue(length), featuredeg=60.0, checksurfdist=False
    )
    lab.meshing_remove_unreferenced_vertices()
    found = lab.current_mesh()
    index = torch.from_numpy(np.ascontiguousarray(found.face_matrix().astype(np.int64)))
    return np.ascontiguousarray(found.vertex_matrix()), index.to(faces.device)
