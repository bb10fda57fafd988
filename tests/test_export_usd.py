"""USDZ files: OpenUSD's own validators, what comes back through its reader, and bytes that repeat (rep card 8.6)."""

import json
import os
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

from dreamkit.cli import app
from dreamkit.convert.unwrap import unwrap
from dreamkit.export.asset import ExportPlan, check_export, export_asset
from dreamkit.export.gltf import write_glb
from dreamkit.generate import settled
from dreamkit.materials.unlit import Unlit
from dreamkit.mesh import Mesh
from dreamkit.recipe import load_recipe
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.vectors import decode_srgb

NEEDED = "needs usd-core: pip install 'dreamkit[usd]'"
KINDS = ("unlit", "lit", "pbr", "colored", "colored and lit", "plain")
PREVIEW = {"UsdPreviewSurface", "UsdUVTexture", "UsdPrimvarReader_float2", "UsdPrimvarReader_float3"}


@pytest.fixture(scope="module")
def pbr() -> Mesh:
    """A ball with an atlas and random texels in all its textures."""
    pytest.importorskip("pxr", reason=NEEDED)
    solid = trimesh.creation.icosphere(subdivisions=2, radius=0.8)
    ball = unwrap(Mesh(torch.tensor(solid.vertices).float(), torch.tensor(solid.faces)), 64)
    draw = torch.Generator().manual_seed(0)
    base, orm, normal = (torch.randint(0, 256, (64, 64, 3), generator=draw) / 255 for _ in range(3))
    return replace(ball, texture=base, orm=orm, normal_map=normal, unlit=False)


def dressed(pbr: Mesh, kind: str) -> Mesh:
    """The ball with another kind of material."""
    plain = Mesh(pbr.vertices, pbr.faces)
    colored = replace(plain, vertex_color=pbr.vertices.abs())
    textured = replace(pbr, orm=None, normal_map=None, roughness=0.25, metallic=0.75)
    return {
        "unlit": replace(textured, unlit=True),
        "lit": textured,
        "pbr": pbr,
        "colored": colored,
        "colored and lit": replace(colored, unlit=False),
        "plain": replace(plain, unlit=False),
    }[kind]


def written(mesh: Mesh, path: Path, name: str = "asset") -> Path:
    from dreamkit.export.usd import write_usdz

    write_usdz(mesh, path, name)
    return path


def opened(path: Path):
    """The stage, as any program with OpenUSD reads it."""
    from pxr import Usd

    stage = Usd.Stage.Open(str(path))
    # Not by its path alone: OpenUSD keeps what it read of a path while anything holds it.
    stage.Reload()
    return stage


def network(stage) -> dict[str, tuple[str, dict[str, object]]]:
    """What feeds each input of the surface: a value, or the name of a node with the output that is taken."""
    from pxr import UsdShade

    geometry = stage.GetPrimAtPath(stage.GetDefaultPrim().GetPath().AppendChild("Geometry"))
    material, _ = UsdShade.MaterialBindingAPI(geometry).ComputeBoundMaterial()
    surface, _, _ = material.ComputeSurfaceSource()
    found = {}
    for port in surface.GetInputs():
        sources, _ = port.GetConnectedSources()
        if sources:
            node = UsdShade.Shader(sources[0].source.GetPrim())
            found[port.GetBaseName()] = (sources[0].sourceName, {i.GetBaseName(): i.Get() for i in node.GetInputs()})
        else:
            found[port.GetBaseName()] = ("value", {"value": port.Get()})
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_validators_of_openusd_find_nothing(kind: str, pbr: Mesh, tmp_path: Path) -> None:
    """Every validator that OpenUSD brings, those of packages and of normal maps among them."""
    from pxr import UsdValidation

    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert {"usdUtilsValidators:UsdzPackageValidator", "usdShadeValidators:NormalMapTextureValidator"} <= {
        validator.GetMetadata().name for validator in validators
    }
    stage = opened(written(dressed(pbr, kind), tmp_path / "a.usdz"))
    found = UsdValidation.ValidationContext(validators).Validate(stage)
    assert [(error.GetName(), error.GetMessage()) for error in found] == []


def test_the_validators_find_what_is_wrong(pbr: Mesh, tmp_path: Path) -> None:
    """The same ones, on a scene without a default prim and with a normal map that is not unpacked."""
    from pxr import UsdValidation

    stage = opened(written(pbr, tmp_path / "a.usdz"))
    with zipfile.ZipFile(tmp_path / "a.usdz") as package:
        package.extractall(tmp_path)
    copy = tmp_path / "b.usda"
    text = stage.GetRootLayer().ExportToString()
    copy.write_text(text.replace('defaultPrim = "asset"', "").replace("(2, 2, 2, 1)", "(1, 1, 1, 1)"))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = {error.GetName() for error in UsdValidation.ValidationContext(validators).Validate(opened(copy))}
    assert {"MissingDefaultPrim", "NonCompliantScaleValues"} <= found


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_is_one_that_ar_viewers_take(kind: str, pbr: Mesh, tmp_path: Path) -> None:
    """The rules that Apple adds: binary layer first, PNG beside it, +Y up, nodes of the preview set only."""
    from pxr import UsdGeom

    path = written(dressed(pbr, kind), tmp_path / "a.usdz")
    with zipfile.ZipFile(path) as package:
        entries = package.infolist()
        assert package.testzip() is None
    content = path.read_bytes()
    starts = [e.header_offset + 30 + sum(struct.unpack_from("<HH", content, e.header_offset + 26)) for e in entries]
    assert [start % 64 for start in starts] == [0] * len(starts)
    assert {e.compress_type for e in entries} == {zipfile.ZIP_STORED}
    assert entries[0].filename == "asset.usdc"
    assert all(e.filename.startswith("textures/") and e.filename.endswith(".png") for e in entries[1:])
    stage = opened(path)
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1.0)
    assert stage.GetDefaultPrim().GetPath() == "/asset"
    kinds = {prim.GetAttribute("info:id").Get() for prim in stage.Traverse() if prim.GetTypeName() == "Shader"}
    assert "UsdPreviewSurface" in kinds
    assert kinds <= PREVIEW
    named = {node["file"].path for _, node in network(stage).values() if "file" in node}
    assert named == {e.filename for e in entries[1:]}


def test_geometry_comes_back_to_the_bit(pbr: Mesh, tmp_path: Path) -> None:
    from pxr import UsdGeom

    stage = opened(written(pbr, tmp_path / "a.usdz"))
    shape = UsdGeom.Mesh(stage.GetPrimAtPath("/asset/Geometry"))
    points = torch.from_numpy(np.array(shape.GetPointsAttr().Get()))
    faces = torch.from_numpy(np.array(shape.GetFaceVertexIndicesAttr().Get())).view(-1, 3)
    assert torch.equal(points, pbr.vertices)
    assert torch.equal(faces, pbr.faces.int())
    assert set(shape.GetFaceVertexCountsAttr().Get()) == {3}
    low, high = np.array(shape.GetExtentAttr().Get())
    assert low.tolist() == pbr.vertices.amin(dim=0).tolist()
    assert high.tolist() == pbr.vertices.amax(dim=0).tolist()
    assert (shape.GetSubdivisionSchemeAttr().Get(), shape.GetDoubleSidedAttr().Get()) == ("none", False)
    assert shape.GetNormalsInterpolation() == "vertex"
    normals = torch.from_numpy(np.array(shape.GetNormalsAttr().Get()))
    # Outwards on a ball; measured at least 0.9999.
    assert (normals * pbr.vertices / 0.8).sum(dim=-1).min() > 0.999


def test_coordinates_lead_to_the_texels_of_the_glb(pbr: Mesh, tmp_path: Path) -> None:
    """(0, 0) is the lower left corner here, the upper left one there: the same texel under every corner."""
    from pxr import UsdGeom

    stage = opened(written(pbr, tmp_path / "a.usdz"))
    variable = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/asset/Geometry")).GetPrimvar("st")
    assert (variable.GetInterpolation(), variable.GetTypeName()) == ("faceVarying", "texCoord2f[]")
    st = torch.from_numpy(np.array(variable.ComputeFlattened())).view(-1, 3, 2)
    uv = pbr.uv[pbr.uv_faces]
    assert torch.equal(st[..., 0], uv[..., 0])
    # One rounding; measured 3.0e-8.
    assert (1 - st[..., 1].double() - uv[..., 1]).abs().max() < 1e-7
    height, width = pbr.texture.shape[:2]
    # A grid of the same mesh whose corners lie in the middle of texels: no corner is between two of them.
    centred = replace(pbr, uv=((pbr.uv * width).floor().clamp(0, width - 1) + 0.5) / width)
    stage = opened(written(centred, tmp_path / "b.usdz"))
    st = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/asset/Geometry")).GetPrimvar("st").ComputeFlattened()
    below = torch.from_numpy(np.array(st)).view(-1, 2)
    row, column = height - 1 - (below[:, 1] * height).long(), (below[:, 0] * width).long()
    u, v = centred.uv[centred.uv_faces].view(-1, 2).unbind(dim=-1)
    assert torch.equal(pbr.texture[row, column], pbr.texture[(v * height).long(), (u * width).long()])
    assert not torch.equal(pbr.texture[height - 1 - row, column], pbr.texture[row, column])


def test_textures_are_those_of_the_glb_to_the_bit(pbr: Mesh, tmp_path: Path) -> None:
    with zipfile.ZipFile(written(pbr, tmp_path / "a.usdz")) as package:
        mine = [package.read(name) for name in package.namelist()[1:]]
    write_glb(pbr, tmp_path / "a.glb")
    content = (tmp_path / "a.glb").read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    views = [document["bufferViews"][image["bufferView"]] for image in document["images"]]
    places = [(28 + length + view["byteOffset"], view["byteLength"]) for view in views]
    assert mine == [content[start : start + size] for start, size in places]
    assert len(mine) == 3


def test_maps_feed_the_inputs_that_they_are_for(pbr: Mesh, tmp_path: Path) -> None:
    """The channels of glTF: occlusion in red, roughness in green, metallic in blue; 8-bit normals unpacked."""
    fed = network(opened(written(pbr, tmp_path / "a.usdz")))
    taken = {name: (output, node["file"].path, node["sourceColorSpace"]) for name, (output, node) in fed.items()}
    packed = "textures/occlusion_roughness_metallic.png"
    assert taken == {
        "diffuseColor": ("rgb", "textures/base_color.png", "sRGB"),
        "occlusion": ("r", packed, "raw"),
        "roughness": ("g", packed, "raw"),
        "metallic": ("b", packed, "raw"),
        "normal": ("rgb", "textures/normal.png", "raw"),
    }
    bumps = fed["normal"][1]
    assert (tuple(bumps["scale"]), tuple(bumps["bias"])) == ((2, 2, 2, 1), (-1, -1, -1, 0))
    assert (bumps["wrapS"], bumps["wrapT"]) == ("clamp", "clamp")


def test_numbers_stand_where_there_are_no_maps(pbr: Mesh, tmp_path: Path) -> None:
    fed = network(opened(written(dressed(pbr, "lit"), tmp_path / "a.usdz")))
    assert fed["diffuseColor"][0] == "rgb"
    assert (fed["roughness"][1]["value"], fed["metallic"][1]["value"]) == (0.25, 0.75)
    assert "occlusion" not in fed
    plain = network(opened(written(dressed(pbr, "plain"), tmp_path / "b.usdz")))
    assert tuple(plain["diffuseColor"][1]["value"]) == (1, 1, 1)


def test_an_unlit_mesh_shines_by_itself_and_reflects_nothing(pbr: Mesh, tmp_path: Path) -> None:
    fed = network(opened(written(dressed(pbr, "unlit"), tmp_path / "a.usdz")))
    assert fed["emissiveColor"][0] == "rgb"
    assert tuple(fed["diffuseColor"][1]["value"]) == (0, 0, 0)
    assert fed["ior"][1]["value"] == 1
    with zipfile.ZipFile(written(replace(pbr, unlit=True), tmp_path / "b.usdz")) as package:
        assert package.namelist() == ["asset.usdc", "textures/base_color.png"]


def test_vertex_colors_are_linear(pbr: Mesh, tmp_path: Path) -> None:
    from pxr import UsdGeom

    mesh = dressed(pbr, "colored and lit")
    stage = opened(written(mesh, tmp_path / "a.usdz"))
    variable = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/asset/Geometry")).GetPrimvar("displayColor")
    assert variable.GetInterpolation() == "vertex"
    assert torch.equal(torch.from_numpy(np.array(variable.Get())), decode_srgb(mesh.vertex_color))
    output, reader = network(stage)["diffuseColor"]
    assert (output, reader["varname"]) == ("result", "displayColor")


def test_the_same_mesh_gives_the_same_bytes(pbr: Mesh, tmp_path: Path, elsewhere: None) -> None:
    """Also in another zone of the world: packages state local time."""
    first = written(pbr, tmp_path / "a.usdz").read_bytes()
    os.environ["TZ"] = "Pacific/Chatham"
    time.tzset()
    again = written(pbr, tmp_path / "another name.usdz")
    assert again.read_bytes() == first
    with zipfile.ZipFile(again) as package:
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that may travel, and is brought home."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "path"),
    [("a red mug", "/a_red_mug"), ("../../evil", "/______evil"), ("", "/asset"), ("3", "/_3"), ("é\ud800\0\n", "/____"),
     ("x" * 5000, "/" + "x" * 100)],
)  # fmt: skip
def test_any_name_stays_a_name(name: str, path: str, pbr: Mesh, tmp_path: Path) -> None:
    """Nothing is written elsewhere, in the package or outside of it."""
    file = written(dressed(pbr, "unlit"), tmp_path / "in" / "a.usdz", name)
    stage = opened(file)
    assert stage.GetDefaultPrim().GetPath() == path
    with zipfile.ZipFile(file) as package:
        assert package.namelist() == ["asset.usdc", "textures/base_color.png"]
    assert [entry.name for entry in tmp_path.rglob("*")] == ["in", "a.usdz"]


def test_failures_leave_the_old_file_and_no_crumbs(pbr: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "a.usdz"
    path.write_text("old")
    with pytest.raises(ValueError, match="not finite"):
        written(replace(pbr, texture=torch.full((4, 4, 3), torch.nan)), path)
    with pytest.raises(ValueError, match="at least one triangle"):
        written(Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.long)), path)
    with pytest.raises(OSError, match=r"a\.usdz"):
        written(pbr, path / "a.usdz")
    assert [file.name for file in tmp_path.iterdir()] == ["a.usdz"]
    assert path.read_text() == "old"


def test_what_openusd_cannot_write_is_an_error_of_the_file_system(pbr: Mesh, tmp_path: Path, monkeypatch) -> None:
    from pxr import Sdf

    from dreamkit.export import usd

    monkeypatch.setattr(
        usd, "_package", lambda folder, *rest: Sdf.ZipFileWriter.CreateNew(str(folder / "nowhere" / "a"))
    )
    with pytest.raises(OSError, match=r"a\.usdz cannot be written: .*nowhere"):
        written(pbr, tmp_path / "a.usdz")
    assert not list(tmp_path.iterdir())


QUICK = ExportPlan(grid=24, faces=200, smoothing=0, texture=32, refine=0, frames=0, size=16)


def test_an_export_writes_it_where_it_is_asked_to(tmp_path: Path) -> None:
    """One that is not asked removes that of an earlier export, which shows another mesh."""
    pytest.importorskip("pxr", reason=NEEDED)
    scene = Scene(TetMesh(channels=3, resolution=8), Unlit(), renderer=MeshRenderer())
    report = list(export_asset(scene, tmp_path, replace(QUICK, usdz=True)))
    assert report
    stage = opened(tmp_path / "asset.usdz")
    assert 0 < len(stage.GetPrimAtPath("/asset/Geometry").GetAttribute("faceVertexCounts").Get()) <= 200
    list(export_asset(scene, tmp_path, QUICK))
    assert not (tmp_path / "asset.usdz").exists()
    assert (tmp_path / "asset.glb").exists()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without usd-core."""
    # An entry of None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.delitem(sys.modules, "dreamkit.export.usd", raising=False)


def test_without_the_extra_the_option_says_what_to_install(without: None, tmp_path: Path) -> None:
    """Before anything is made, whichever way it is asked for."""
    check_export(ExportPlan())
    with pytest.raises(ValueError, match=r"dreamkit\[usd\]"):
        check_export(ExportPlan(usdz=True))
    with pytest.raises(ValueError, match=r"dreamkit\[usd\]"):
        settled(load_recipe("toybox", ["export.usdz=true"]))
    told = CliRunner().invoke(app, ["generate", "a red mug", "--out", str(tmp_path / "a"), "--set", "export.usdz=true"])
    assert told.exit_code == 2
    assert "dreamkit[usd]" in told.output
    assert not (tmp_path / "a").exists()
