"""Write a mesh as USDZ: one package with geometry, textures and material that AR viewers and film tools open.

The extra `usd` (usd-core) brings OpenUSD's own writers; nothing else imports it. Source: the specifications of
UsdPreviewSurface and of USDZ (openusd.org); card rep 8.6.
"""

import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

# The modules of pxr are compiled and have no stubs.
# pyright: reportAttributeAccessIssue=false
try:
    from pxr import Kind, Sdf, Tf, Usd, UsdGeom, UsdShade, Vt  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("USDZ files need usd-core: pip install 'dreamkit[usd]'") from error

from dreamkit import __version__
from dreamkit.export.atomic import write_atomically
from dreamkit.export.gltf import textures, unit_normals
from dreamkit.export.png import encode_png
from dreamkit.mesh import Mesh
from dreamkit.vectors import decode_srgb

TYPES = Sdf.ValueTypeNames
INPUTS = {
    **dict.fromkeys(("diffuseColor", "emissiveColor"), TYPES.Color3f),
    **dict.fromkeys(("roughness", "metallic", "occlusion", "ior"), TYPES.Float),
    "normal": TYPES.Normal3f,
}
"What a UsdPreviewSurface takes."
LONGEST = 100
"Characters of a prim's name."


def write_usdz(mesh: Mesh, path: Path, name: str = "asset") -> None:
    """Write `mesh` to `path` in one go; the same mesh and name give the same bytes.

    Says in UsdPreviewSurface what `write_glb` says in glTF, with the same PNGs; texture coordinates are flipped here,
    once: USD counts v from the bottom. Roughness and metallic are read from the green and blue channel of one image. An
    unlit mesh emits its colour and reflects nothing, which is as near as this material comes to KHR_materials_unlit.
    Vertex colours become linear `displayColor`. Letters of `name` that no prim can have become underscores. Raises
    ValueError for a mesh without faces, and OSError when the file cannot be written.
    """
    if len(mesh.faces) == 0:
        raise ValueError(f"a USDZ needs at least one triangle; the mesh for {path} has none")
    # Without light, there is nothing that the other textures could change.
    images = {kind: image for kind, image in textures(mesh).items() if kind == "base color" or not mesh.unlit}
    files = {_file(kind): encode_png(image) for kind, image in images.items()}
    try:
        with tempfile.TemporaryDirectory() as folder:
            package = _package(Path(folder), _stage(mesh, _identifier(name)), files)
    except Tf.ErrorException as error:
        raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from error
    write_atomically(path, package)


def _package(folder: Path, stage: Any, images: Mapping[str, bytes]) -> bytes:
    """An uncompressed zip whose files begin at multiples of 64 bytes, the scene first; made in a folder of its own."""
    stage.GetRootLayer().Export(str(folder / "asset.usdc"))
    (folder / "textures").mkdir()
    for name, content in images.items():
        (folder / name).write_bytes(content)
    # Packages state when their files were changed, in local time: the first moment that a zip can state.
    moment = time.mktime((1980, 1, 1, 0, 0, 0, 0, 1, -1))
    with Sdf.ZipFileWriter.CreateNew(str(folder / "asset.usdz")) as package:
        for name in ("asset.usdc", *images):
            os.utime(folder / name, (moment, moment))
            package.AddFile(str(folder / name), name)
    return (folder / "asset.usdz").read_bytes()


def _stage(mesh: Mesh, name: str) -> Any:
    """The scene: one component with its geometry and its material. Its layer lives as long as it does."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.GetRootLayer().customLayerData = {"creator": f"dreamkit {__version__}"}
    root = UsdGeom.Xform.Define(stage, f"/{name}").GetPrim()
    stage.SetDefaultPrim(root)
    Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
    shape = _geometry(mesh, UsdGeom.Mesh.Define(stage, f"/{name}/Geometry"))
    UsdGeom.Scope.Define(stage, f"/{name}/Materials")
    material = Material(stage, f"/{name}/Materials/Surface")
    material.describe(mesh)
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material.material)
    return stage


def _geometry(mesh: Mesh, shape: Any) -> Any:
    points = _vectors(mesh.vertices)
    shape.CreatePointsAttr(points)
    shape.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray(len(mesh.faces), 3))
    shape.CreateFaceVertexIndicesAttr(_integers(mesh.faces))
    # Without this word, USD subdivides.
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    shape.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)
    shape.CreateDoubleSidedAttr(False)
    shape.CreateNormalsAttr(_vectors(unit_normals(mesh)))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    variables = UsdGeom.PrimvarsAPI(shape)
    if mesh.uv is not None and mesh.uv_faces is not None:
        flipped = mesh.uv.detach().cpu().double().numpy() * [1, -1] + [0, 1]
        st = variables.CreatePrimvar("st", TYPES.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(flipped, dtype="<f4")))
        st.SetIndices(_integers(mesh.uv_faces))
    if mesh.vertex_color is not None and mesh.texture is None:
        color = variables.CreatePrimvar("displayColor", TYPES.Color3fArray, UsdGeom.Tokens.vertex)
        color.Set(_vectors(decode_srgb(mesh.vertex_color.clamp(0, 1))))
    return shape


class Material:
    """A UsdPreviewSurface with what feeds it."""

    def __init__(self, stage: Any, path: str) -> None:
        self.stage, self.path = stage, path
        self.material = UsdShade.Material.Define(stage, path)
        self.surface = self._node("PreviewSurface", "UsdPreviewSurface")
        self.material.CreateSurfaceOutput().ConnectToSource(self.surface.ConnectableAPI(), "surface")

    def describe(self, mesh: Mesh) -> None:
        """State what the mesh's surface is like, lit or unlit."""
        if mesh.unlit:
            self._color("emissiveColor", mesh)
            # With an index of 1 there is no step at the surface, so nothing is reflected either.
            for name, value in {"diffuseColor": (0.0, 0.0, 0.0), "ior": 1.0, "roughness": 1.0, "metallic": 0.0}.items():
                self._state(name, value)
            return
        self._color("diffuseColor", mesh)
        if mesh.orm is None:
            self._state("roughness", float(mesh.roughness))
            self._state("metallic", float(mesh.metallic))
        else:
            packed = self._texture("occlusion roughness metallic", "raw")
            for name, channel in {"occlusion": "r", "roughness": "g", "metallic": "b"}.items():
                self._feed(name, packed, channel)
        if mesh.normal_map is not None:
            bumps = self._texture("normal", "raw")
            # 8-bit texels hold (n + 1) / 2.
            bumps.CreateInput("scale", TYPES.Float4).Set((2.0, 2.0, 2.0, 1.0))
            bumps.CreateInput("bias", TYPES.Float4).Set((-1.0, -1.0, -1.0, 0.0))
            self._feed("normal", bumps, "rgb")

    def _color(self, name: str, mesh: Mesh) -> None:
        """The base colour: texture, vertex colours or white."""
        if mesh.texture is not None:
            self._feed(name, self._texture("base color", "sRGB"), "rgb")
        elif mesh.vertex_color is not None:
            self._feed(name, self._reader("VertexColor", "float3", "displayColor"), "result")
        else:
            self._state(name, (1.0, 1.0, 1.0))

    def _texture(self, kind: str, space: str) -> Any:
        """A node that reads one of the package's images; `space` is how its numbers are encoded."""
        reader = self._reader("Coordinates", "float2", "st")
        node = self._node(kind.title().replace(" ", ""), "UsdUVTexture")
        node.CreateInput("file", TYPES.Asset).Set(_file(kind))
        node.CreateInput("sourceColorSpace", TYPES.Token).Set(space)
        for side in ("wrapS", "wrapT"):
            node.CreateInput(side, TYPES.Token).Set("clamp")
        node.CreateInput("st", TYPES.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        return node

    def _reader(self, name: str, kind: str, variable: str) -> Any:
        """A node that hands a variable of the geometry on."""
        node = self._node(name, f"UsdPrimvarReader_{kind}")
        node.CreateInput("varname", TYPES.String).Set(variable)
        node.CreateOutput("result", TYPES.Float2 if kind == "float2" else TYPES.Float3)
        return node

    def _node(self, name: str, identifier: str) -> Any:
        node = UsdShade.Shader.Define(self.stage, f"{self.path}/{name}")
        node.CreateIdAttr(identifier)
        return node

    def _feed(self, name: str, source: Any, output: str) -> None:
        if not source.GetOutput(output):
            source.CreateOutput(output, TYPES.Float3 if output == "rgb" else TYPES.Float)
        self.surface.CreateInput(name, INPUTS[name]).ConnectToSource(source.ConnectableAPI(), output)

    def _state(self, name: str, value: float | tuple[float, ...]) -> None:
        self.surface.CreateInput(name, INPUTS[name]).Set(value)


def _file(kind: str) -> str:
    """Where a texture lies in the package."""
    return f"textures/{kind.replace(' ', '_')}.png"


def _identifier(name: str) -> str:
    """A prim's name: letters, digits and underscores, the first no digit."""
    plain = re.sub(r"\W", "_", name[:LONGEST], flags=re.ASCII) or "asset"
    return f"_{plain}" if plain[0].isdigit() else plain


def _vectors(values: Float[Tensor, "count 3"]) -> Any:
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4"))


def _integers(values: Int[Tensor, "..."]) -> Any:
    return Vt.IntArray.FromNumpy(np.ascontiguousarray(values.cpu().numpy(), dtype="<i4").reshape(-1))
