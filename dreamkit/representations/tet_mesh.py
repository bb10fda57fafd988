"""DMTet: a surface that marching tetrahedra cut out of a grid of signed distances, so its topology can change."""

from dreamkit.mesh import Mesh
from dreamkit.ops.marching_tets import crossings, cut_tets, kuhn_tets
from dreamkit.rendering import SurfaceState
from dreamkit.representations.grid_surface import GridSurface


class TetMesh(GridSurface):
    """`GridSurface` on the Kuhn subdivision, six tetrahedra a cube: no grid file is needed.

    A vertex lies on each crossed edge (a, b) at `x_a + (x_b - x_a) s_a / (s_a - s_b)`; the surface is watertight.
    Sources: DMTet, arXiv 2111.04276; card rep 7.2 and 7.3.
    """

    paper = "2111.04276"

    def surface(self, progress: float = 1.0) -> SurfaceState:
        """The mesh, and the distances at both ends of the crossed edges."""
        distance = self.signed_distance()
        inside = distance.detach() < 0
        cut = cut_tets(inside, kuhn_tets(self.resolution, inside))
        mesh = Mesh(crossings(self.positions(), distance, cut.edges), cut.faces)
        return SurfaceState(mesh, distance[cut.edges], is_closed=True)
