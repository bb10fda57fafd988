"""Surfaces from fields and fields from surfaces, against the scene that they came from."""

from dataclasses import replace

import pytest
from analytic_fields import Ball

from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.plan import find_route
from dreamkit.convert.point_fit import PointFit
from dreamkit.convert.rendered_fit import RATES, RenderedFit
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.convert.surface_to_field import SurfaceToField
from dreamkit.convert.to_surface import ToSurface
from dreamkit.convert.to_textured_mesh import ToTexturedMesh
from dreamkit.materials.backgrounds import Solid
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.representations.textured_mesh import TexturedMesh
from dreamkit.representations.voxel_field import VoxelField

LEVELS = HashLevels(levels=6, log2_table_size=13)


def finish(conversion):
    while True:
        try:
            next(conversion)
        except StopIteration as stop:
            return stop.value


def test_the_plan_finds_the_ways() -> None:
    assert [hop.converter for hop in find_route(HashField, TetMesh)] == [ToSurface]
    assert [hop.converter for hop in find_route(TetMesh, VoxelField)] == [SurfaceToField]


@pytest.mark.slow
def test_t11_1_a_ball_becomes_a_mesh_and_a_field_again() -> None:
    teacher = Scene(Ball(0.5, 60.0, edge=0.01), background=Solid(), renderer=VolumeRenderer(128))
    mesh = Scene(TetMesh(resolution=24, levels=LEVELS), background=Solid(), renderer=MeshRenderer())
    report = finish(ToSurface(color_steps=60, fit=RenderedFit(steps=40)).convert(teacher, mesh))
    # Measured: 31.2 dB; 0.037, of which 0.02 is how far light travels into the fuzzy ball.
    assert report.median_psnr > 28
    assert report.depth_error < 0.05
    spec = student_spec(mesh.shape, HashField, {"levels": LEVELS})
    back = student_scene(mesh, spec.build(seed=0))
    way = SurfaceToField(pool=8192, start=PointFit(80, 2048), fit=PictureFit(150, 24, 64, 512))
    report = finish(way.convert(mesh, back))
    # Measured: 24.0 dB in 10 s of processor time; with the converter's own 500 steps more.
    assert report.median_psnr > 22


def test_settings_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="views=0"):
        RenderedFit(views=0)
    with pytest.raises(ValueError, match="level_share=0"):
        ToSurface(level_share=0)
    with pytest.raises(ValueError, match="rays=0"):
        PictureFit(rays=0)
    field = Scene(HashField(levels=LEVELS))
    with pytest.raises(TypeError, match="cannot make a HashField"):
        next(SurfaceToField().convert(field, field))


def test_a_ball_becomes_a_textured_mesh_and_keeps_its_look() -> None:
    teacher = Scene(Ball(0.5, 60.0, edge=0.01), background=Solid(), renderer=VolumeRenderer(128))
    mesh = Scene(TexturedMesh(texture=64), background=Solid(), renderer=MeshRenderer(2))
    fit = RenderedFit(steps=10, size=48, normal=0.0, rates=replace(RATES, geometry=0.0))
    report = finish(ToTexturedMesh(faces=2000, fit=fit).convert(teacher, mesh))
    shape = mesh.shape
    assert isinstance(shape, TexturedMesh)
    assert len(shape.faces) <= 2000
    assert shape.mesh().euler_characteristic == 2
    assert report.median_psnr > 25
    assert find_route(TexturedMesh, HashField)[0].converter is SurfaceToField
    assert find_route(HashField, TexturedMesh)[0].converter is ToTexturedMesh
