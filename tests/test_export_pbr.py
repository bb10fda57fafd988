"""PBR files: baked, written, read back, and shown under an environment (rep T4.6, T8.1, T8.5, T8.6)."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from test_export_gltf import document, validate

from dreamkit.cameras import orbit
from dreamkit.convert.bake import bake, bake_normals
from dreamkit.convert.unwrap import unwrap
from dreamkit.export.gltf import write_glb
from dreamkit.export.load import load_mesh
from dreamkit.export.obj import write_obj
from dreamkit.export.paint import paint
from dreamkit.materials.illumination import environment_light
from dreamkit.materials.pbr import PBR
from dreamkit.materials.unlit import Unlit
from dreamkit.mesh import Mesh
from dreamkit.renderers.surface import render_surface
from dreamkit.representations.hash_field import HashField, HashLevels
from dreamkit.vectors import dot, normalize


@pytest.fixture(scope="module")
def ball() -> Mesh:
    """An unwrapped icosphere."""
    solid = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
    return unwrap(Mesh(torch.tensor(solid.vertices).float(), torch.tensor(solid.faces)), 128)


@pytest.fixture(scope="module")
def lit(ball: Mesh) -> Mesh:
    """The ball with random texels in all its textures."""
    draw = torch.Generator().manual_seed(0)
    base, orm, normal = (torch.randint(0, 256, (32, 32, 3), generator=draw) / 255 for _ in range(3))
    orm[..., 0] = 1
    return replace(ball, texture=base, orm=orm, normal_map=normal, unlit=False)


def test_khronos_validator_finds_nothing(lit: Mesh, tmp_path: Path) -> None:
    """rep T8.1, with all textures and tangents."""
    write_glb(lit, tmp_path / "a.glb")
    issues = validate(tmp_path / "a.glb")
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


@pytest.mark.parametrize("ending", ["glb", "obj"])
def test_t4_6_textures_come_back(lit: Mesh, tmp_path: Path, ending: str) -> None:
    """Texel to file to loader, within 1/255: here exactly, because the texels are multiples of 1/255."""
    write = {"glb": write_glb, "obj": write_obj}[ending]
    write(lit, tmp_path / f"a.{ending}")
    loaded = load_mesh(tmp_path / f"a.{ending}")
    assert torch.equal(loaded.texture, lit.texture)
    assert torch.equal(loaded.orm, lit.orm)
    assert torch.equal(loaded.normal_map, lit.normal_map)
    assert not loaded.unlit


def test_t4_6_any_value_comes_back_within_a_step(ball: Mesh, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(1)
    mesh = replace(ball, orm=torch.rand(16, 16, 3, generator=draw), texture=torch.rand(16, 16, 3, generator=draw))
    write_glb(mesh, tmp_path / "a.glb")
    # Rounding: half a step.
    assert (load_mesh(tmp_path / "a.glb").orm - mesh.orm).abs().max() <= 0.5 / 255 + 1e-6


def test_t8_5_constant_maps_have_the_cards_texel(ball: Mesh, tmp_path: Path) -> None:
    """roughness 0.25 and metallic 0.75 are the texel (., 64, 191), in another reader too."""
    orm = torch.tensor([1.0, 0.25, 0.75]).expand(8, 8, 3)
    write_glb(replace(ball, orm=orm, unlit=False), tmp_path / "a.glb")
    material = trimesh.load_scene(tmp_path / "a.glb", process=False).geometry.popitem()[1].visual.material
    assert material.metallicRoughnessTexture.getpixel((3, 3)) == (255, 64, 191)
    assert (material.roughnessFactor, material.metallicFactor) == (1, 1)


def test_document_states_each_texture_once(lit: Mesh, tmp_path: Path) -> None:
    write_glb(lit, tmp_path / "a.glb")
    described = document(tmp_path / "a.glb")
    material = described["materials"][0]
    assert [texture["source"] for texture in described["textures"]] == [0, 1, 2]
    assert material["pbrMetallicRoughness"]["metallicRoughnessTexture"]["index"] == 1
    assert material["occlusionTexture"]["index"] == 1
    assert material["normalTexture"]["index"] == 2
    assert "TANGENT" in described["meshes"][0]["primitives"][0]["attributes"]


def test_mtl_names_the_maps_by_their_pbr_keys(lit: Mesh, tmp_path: Path) -> None:
    files = write_obj(lit, tmp_path / "a.obj")
    names = ["a.png", "a_roughness.png", "a_metallic.png", "a_normal.png", "a.mtl", "a.obj"]
    assert [file.name for file in files] == names
    lines = (tmp_path / "a.mtl").read_text().splitlines()
    for line in ("map_Kd a.png", "map_Pr a_roughness.png", "map_Pm a_metallic.png", "norm a_normal.png"):
        assert line in lines


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "missing.png"])
def test_images_outside_the_folder_are_not_opened(lit: Mesh, tmp_path: Path, name: str) -> None:
    write_obj(lit, tmp_path / "in" / "a.obj")
    (tmp_path / "secret.png").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    material = tmp_path / "in" / "a.mtl"
    material.write_text(material.read_text().replace("norm a_normal.png", f"norm {name}"))
    with pytest.raises(ValueError, match=r"secret|missing"):
        load_mesh(tmp_path / "in" / "a.obj")


def test_factors_of_other_writers_are_multiplied_in(lit: Mesh, tmp_path: Path) -> None:
    write_glb(lit, tmp_path / "a.glb")
    content, described = (tmp_path / "a.glb").read_bytes(), document(tmp_path / "a.glb")
    described["materials"][0]["pbrMetallicRoughness"] |= {"roughnessFactor": 0.5, "metallicFactor": 0.25}
    length = struct.unpack_from("<I", content, 12)[0]
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, len(content) - length + len(text), len(text), 0x4E4F534A)
    (tmp_path / "b.glb").write_bytes(head + text + content[20 + length :])
    loaded = load_mesh(tmp_path / "b.glb")
    assert torch.allclose(loaded.orm, lit.orm * torch.tensor([1, 0.5, 0.25]))


def test_a_flat_normal_map_is_blue(ball: Mesh) -> None:
    """rep T8.6: mean blue at least 0.99, x and y within 1/255 of one half."""
    texels = bake_normals(ball, lambda points, normals: normals, 64).normal_map
    assert texels[..., 2].mean() > 0.99
    assert (texels[..., :2] - 0.5).abs().max() < 1 / 255


def test_baked_normals_come_back_when_they_are_shown(ball: Mesh) -> None:
    """World normals, into tangent space, through the texture, and back: what the renderer shows is what was baked."""

    def bent(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return normalize(normals + 0.4 * torch.sin(4 * points.roll(1, dims=-1)))

    mesh = replace(bake_normals(ball, bent, 512), unlit=False, texture=torch.ones(2, 2, 3))
    cameras = orbit([0.0, 120.0, 240.0], 20.0)
    shown = render_surface(mesh, cameras, light=environment_light("overcast"), supersample=1)
    plain = render_surface(ball, cameras, supersample=1)
    seen = plain.alpha[..., 0] > 0
    rays = cameras.rays()
    points = (rays.origins + rays.directions * plain.depth)[seen]
    angle = torch.rad2deg(torch.acos(dot(shown.normal[seen], bent(points, plain.normal[seen])).clamp(-1, 1)))
    # The map is bilinear on 512 texels; measured: median 0.11 degrees, 99 % below 1.1 (chart borders).
    assert angle.median() < 0.5
    assert angle.quantile(0.99) < 3


def test_a_material_paints_all_its_textures(ball: Mesh) -> None:
    levels = HashLevels(levels=2, log2_table_size=8)
    field, material = HashField(channels=8, levels=levels, hidden=8, seed=1), PBR(("overcast",), bump=True)
    with torch.no_grad():
        field.table.mul_(1e4)
        mesh = paint(field, material, ball, 64)
        # A texel well inside a chart, which lies on the surface at its vertex.
        features = field.features(ball.vertices)
    assert mesh.texture.shape == mesh.orm.shape == mesh.normal_map.shape == (64, 64, 3)
    assert mesh.orm[..., 0].min() > 0.999
    low, high = material.surface_maps(features).aminmax(dim=0)
    assert (mesh.orm.amin(dim=(0, 1)) > low - 0.05).all()
    assert (mesh.orm.amax(dim=(0, 1)) < high + 0.05).all()
    assert mesh.normal_map[..., :2].std() > 1e-3
    flat = paint(HashField(channels=3, levels=levels, hidden=8), Unlit(), ball, 32)
    assert flat.orm is None
    assert flat.normal_map is None


def test_baking_other_channels_is_refused(ball: Mesh) -> None:
    with pytest.raises(ValueError, match="colour and orm"):
        bake(ball, lambda points, normals: points[:, :2].abs(), 32)


def test_a_smooth_metal_shows_the_light_and_a_rough_plaster_does_not(ball: Mesh) -> None:
    white = replace(ball, texture=torch.ones(2, 2, 3), unlit=False)
    light, front = environment_light("studio"), orbit([0.0])

    def sharpness(roughness: float, metallic: float) -> float:
        orm = torch.tensor([1.0, roughness, metallic]).expand(2, 2, 3)
        shown = render_surface(replace(white, orm=orm), front, light=light)
        inside = (shown.alpha == 1).all(dim=-1)
        step = shown.color.mean(dim=-1).diff(dim=2).abs()
        return float(step[inside[:, :, 1:] & inside[:, :, :-1]].quantile(0.98))

    # Steps between neighbouring pixels; measured 0.143 and 0.012.
    assert sharpness(0.1, 1.0) > 2 * sharpness(1.0, 0.0)


def test_numbers_and_constant_textures_look_the_same(ball: Mesh) -> None:
    mesh = replace(ball, texture=torch.full((2, 2, 3), 0.5), unlit=False, roughness=0.3, metallic=0.6)
    textured = replace(mesh, orm=torch.tensor([1.0, 0.3, 0.6]).expand(2, 2, 3))
    views, light = orbit([10.0, 200.0]), environment_light("sunset", 30.0)
    shown = [render_surface(one, views, light=light).color for one in (mesh, textured)]
    assert torch.allclose(*shown, atol=1e-5)
    # Without a light, only the textured one is taken for a PBR surface: it stands in the studio.
    assert torch.equal(
        render_surface(textured, views).color, render_surface(textured, views, light=environment_light()).color
    )
