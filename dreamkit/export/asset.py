"""From an optimised scene to the files that artists open: mesh, texture, previews, and a report on what was lost."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.convert.clean import clean_surface
from dreamkit.convert.isosurface import EmptySurface, extract_surface, sample_density
from dreamkit.convert.level import find_level, select_views
from dreamkit.convert.refine import refine_texture
from dreamkit.convert.unwrap import unwrap
from dreamkit.evaluate.fidelity import Fidelity, held_out_cameras, measure_fidelity
from dreamkit.export.gltf import write_glb
from dreamkit.export.obj import write_obj
from dreamkit.export.paint import paint, paint_own
from dreamkit.export.splat_file import to_splat_file
from dreamkit.export.splat_gltf import write_splat_glb
from dreamkit.export.splat_ply import write_splat_ply
from dreamkit.export.video import turntable_cameras, write_preview, write_video
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.surface import render_surface
from dreamkit.rendering import Rendering, Step
from dreamkit.representations.base import AbstractSurface, AbstractVolume
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh

_STAGES = 6


@dataclass(frozen=True)
class ExportPlan:
    """How fine the mesh, its texture and the previews are."""

    grid: int = 128
    "Cells along the longest side of the object when its surface is looked for."
    level: float = 0.0
    "Density of the surface, per scene unit; 0 looks for the level whose mesh looks most like the renders."
    faces: int = 20_000
    smoothing: int = 2
    texture: int = 1024
    refine: int = 20
    "Rounds of least squares that make the texture agree with the renders; 0 for none."
    frames: int = 36
    "Frames of the turntable; 0 for no video."
    size: int = 256
    "Height and width of the previews, in pixels."
    usdz: bool = False
    "Whether `NAME.usdz` is written as well; needs the extra `usd`."

    def __post_init__(self) -> None:
        if min(self.grid, self.texture, self.size, self.faces) < 1 or min(self.level, self.refine, self.frames) < 0:
            raise ValueError(
                f"an export needs grid, texture, size and faces >= 1, and level, refine and frames >= 0; got "
                f"grid={self.grid}, texture={self.texture}, size={self.size}, faces={self.faces}, level={self.level}, "
                f"refine={self.refine}, frames={self.frames}"
            )


@dataclass(frozen=True)
class ExportReport:
    """What was made, and how far it is from the scene."""

    mesh: Mesh
    level: float
    fidelity: Fidelity


def export_asset(scene: Scene, folder: Path, plan: ExportPlan, name: str = "asset") -> Iterator[Step]:
    """Write `NAME.glb`, `NAME.obj` (+ .mtl, .png), `preview.png` and `turntable.mp4`; returns an ExportReport.

    A cloud of Gaussians is written as it is, too: `NAME.ply` and `NAME-splats.glb`. A textured mesh is written with its
    own triangles, coordinates and texels; the plan's numbers for mesh and texture have no say there. Where the plan
    says so, the mesh is `NAME.usdz` too; where it does not, one of an earlier export is removed.
    The report is the generator's return value (`report = yield from export_asset(...)`). Raises EmptySurface where the
    scene holds nothing, TypeError for shapes that are neither volumes nor surfaces, ValueError as `check_export`,
    OSError where a file cannot be written.
    """
    check_export(plan)
    scene.eval()
    with torch.no_grad():
        mesh, level = yield from _made(scene, plan)
        write_glb(mesh, folder / f"{name}.glb", name)
        write_obj(mesh, folder / f"{name}.obj", name)
        if plan.usdz:
            _usdz_writer()(mesh, folder / f"{name}.usdz", name)
        else:
            # It would show another mesh than the files beside it.
            (folder / f"{name}.usdz").unlink(missing_ok=True)
        if isinstance(scene.shape, Gaussians):
            cloud = to_splat_file(scene.shape, scene.material)
            write_splat_ply(cloud, folder / f"{name}.ply")
            write_splat_glb(cloud, folder / f"{name}-splats.glb", name)
        yield _stage(5, "compare the mesh with the render")
        fidelity = _fidelity(scene, mesh)
        yield _stage(6, f"previews (mesh against render: {fidelity.median_psnr:.1f} dB)")
        write_previews(mesh, folder, plan)
    return ExportReport(mesh, level, fidelity)


def check_export(plan: ExportPlan) -> None:
    """Raise ValueError where the plan asks for a format whose library is missing, before any time is spent."""
    if plan.usdz:
        _usdz_writer()


def _usdz_writer() -> Callable[[Mesh, Path, str], None]:
    try:
        from dreamkit.export.usd import write_usdz
    except ModuleNotFoundError as error:
        raise ValueError(f"export.usdz: {error}; or leave it out: export.usdz=false") from error
    return write_usdz


def _made(scene: Scene, plan: ExportPlan) -> Generator[Step, None, tuple[Mesh, float]]:
    """The mesh with its textures, and the density level at which it was cut (0 for a mesh)."""
    if isinstance(scene.shape, TexturedMesh):
        yield _stage(1, f"{len(scene.shape.faces)} faces with their own texture, as they are")
        return replace(paint_own(scene.shape, scene.material), unlit=not scene.material.needs_normal), 0.0
    yield _stage(1, "render the views that the mesh must match")
    cameras = _fitting_cameras(scene.shape.radius).to(next(scene.parameters()).device)
    views = scene.render(cameras)
    yield _stage(2, "find the surface")
    surface, level = _surface(scene, views, cameras, plan)
    yield _stage(3, "clean and unwrap" + (f" (density level {level:.1f})" if level else ""))
    mesh = unwrap(clean_surface(surface, plan.faces, plan.smoothing), plan.texture)
    yield _stage(4, f"bake the texture of {len(mesh.faces)} faces")
    return _textured(scene, mesh, views, cameras, plan), level


def write_previews(mesh: Mesh, folder: Path, plan: ExportPlan) -> None:
    """`preview.png`, four sides of the asset next to each other, and `turntable.mp4`; the asset fills the frame."""
    mesh = mesh.fitted()
    sides = orbit([0.0, 90.0, 180.0, -90.0], 15.0, height=plan.size, width=plan.size)
    write_preview(render_surface(mesh, sides).color, folder / "preview.png")
    if plan.frames:
        turn = turntable_cameras(plan.frames, plan.size)
        write_video(render_surface(mesh, turn).color, folder / "turntable.mp4", rate=plan.frames // 2 or 1)


def _surface(scene: Scene, views: Rendering, cameras: Cameras, plan: ExportPlan) -> tuple[Mesh, float]:
    """The bare surface of the scene's shape, and the density level at which it was cut (0 for a mesh)."""
    shape = scene.shape
    if isinstance(shape, AbstractSurface):
        mesh = shape.mesh()
        if not len(mesh.faces):
            raise EmptySurface("the scene's mesh has no faces; train longer, or start from a larger shape")
        return mesh, 0.0
    if not isinstance(shape, AbstractVolume):
        raise TypeError(f"only volumes and surfaces can be exported as a mesh; got {type(shape).__name__}")
    half = torch.full((3,), float(shape.radius), device=cameras.pose.device)
    level = plan.level
    if not level:
        grid, some = sample_density(shape.density, -half, half, 48), slice(0, None, 2)
        behind = _behind(scene, cameras)[some]
        level = find_level(grid, select_views(views, some), cameras[some], behind).density
    return extract_surface(shape.density, level, shape.radius, fine=plan.grid, device=half.device), level


def _textured(scene: Scene, mesh: Mesh, views: Rendering, cameras: Cameras, plan: ExportPlan) -> Mesh:
    mesh = paint(scene.shape, scene.material, mesh, plan.texture)
    if plan.refine:
        mesh = refine_texture(mesh, views, cameras, _behind(scene, cameras), plan.refine)
    # A material that was shaded in training has learnt its colour without light, so viewers must light it.
    return replace(mesh, unlit=not scene.material.needs_normal)


def _fidelity(scene: Scene, mesh: Mesh) -> Fidelity:
    cameras = held_out_cameras(distance=2.5 * scene.shape.radius).to(mesh.vertices.device)
    # Evaluation shows the base colour without light, so the mesh is compared without light too.
    return measure_fidelity(replace(mesh, unlit=True), scene.render(cameras), cameras, _behind(scene, cameras))


def _behind(scene: Scene, cameras: Cameras) -> Float[Tensor, "batch height width 3"]:
    return scene.background.color(cameras.rays().directions)


def _fitting_cameras(radius: float, size: int = 128) -> Cameras:
    """Eight views around at eye level, then a ring from above, a ring from below, and the top."""
    around, above = [45.0 * i for i in range(8)], [60.0 * i + 30 for i in range(6)]
    azimuth = torch.tensor([*around, *above, 0.0, 90.0, 180.0, -90.0, 0.0])
    elevation = torch.tensor([15.0] * 8 + [50.0] * 6 + [-20.0] * 4 + [85.0])
    return orbit(azimuth, elevation, 2.5 * radius, height=size, width=size)


def _stage(index: int, note: str) -> Step:
    return Step(index, _STAGES, 0.0, note=note, stage="export")
