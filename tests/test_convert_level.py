"""The density at which a volume is cut: as large as its pictures, whether it is fog or stone."""

from collections.abc import Callable

import pytest
import torch

from dreamkit.convert.fidelity import judging_cameras
from dreamkit.convert.isosurface import EmptySurface, extract_surface
from dreamkit.convert.silhouette_level import half_opaque_level
from dreamkit.convert.to_surface import bare_surface, visible_level
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.ops.rasterize import rasterize
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.density import DensityMap
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.tet_mesh import TetMesh

LEVELS = HashLevels(levels=2, log2_table_size=8)


def blob(scale: float, size: float = 0.5) -> Scene:
    """A fresh field: softplus of `scale (1 - |x| / size)`, from thin fog to an almost solid ball."""
    field = HashField(levels=LEVELS, hidden=8, density_map=DensityMap(scale=scale, std=size))
    return Scene(field, renderer=VolumeRenderer(samples=128)).eval()


@pytest.mark.parametrize("find", [visible_level, half_opaque_level])
@pytest.mark.parametrize("scale", [4.0, 10.0, 100.0])
def test_the_surface_covers_what_is_half_opaque(scale: float, find: Callable[[Scene], float]) -> None:
    scene = blob(scale)
    level, cameras = find(scene), judging_cameras()
    with torch.no_grad():
        wanted = int((scene.render(cameras).alpha > 0.5).sum())
        mesh = extract_surface(scene.shape.density, level, fine=64)
    covered = int((rasterize(mesh.vertices, mesh.faces, cameras).triangle >= 0).sum())
    # A level is found on a grid of 64 cells; measured 0.9 to 2.0 % more.
    assert covered == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("find", [visible_level, half_opaque_level])
def test_fog_is_cut_lower_than_stone(find: Callable[[Scene], float]) -> None:
    assert find(blob(4.0)) < find(blob(100.0)) / 2


def test_a_level_beyond_the_density_is_refused() -> None:
    with pytest.raises(EmptySurface, match="no surface at level"):
        bare_surface(blob(4.0), 1e6)


def test_nothing_and_surfaces_are_refused() -> None:
    with pytest.raises(EmptySurface, match="more than half opaque"):
        half_opaque_level(blob(100.0, 0.001))
    with pytest.raises(TypeError, match="only volumes"):
        half_opaque_level(Scene(TetMesh(resolution=4, levels=LEVELS), renderer=MeshRenderer()))
