"""What each way of the table of conversions may cost: some ten seconds of one core."""

from collections.abc import Callable
from dataclasses import replace

from dreamkit.convert.base import AbstractConverter
from dreamkit.convert.gaussians_to_field import GaussiansToField
from dreamkit.convert.gaussians_to_surface import GaussiansToSurface
from dreamkit.convert.keep import Keep
from dreamkit.convert.picture_fit import PictureFit
from dreamkit.convert.plan import find_route
from dreamkit.convert.plan import kind as kind_of
from dreamkit.convert.point_fit import PointFit
from dreamkit.convert.pvd import PVD
from dreamkit.convert.rendered_fit import RATES, RenderedFit
from dreamkit.convert.surface_to_field import SurfaceToField
from dreamkit.convert.to_gaussians import ToGaussians
from dreamkit.convert.to_surface import ToSurface
from dreamkit.convert.to_textured_mesh import ToTexturedMesh

FIELDS = ("hash", "mlp", "voxel", "vm", "cp", "triplane", "sdf")
KINDS = (*FIELDS, "tet_mesh", "gaussians", "textured_mesh")
SETTINGS: dict[type[AbstractConverter], Callable[[float], AbstractConverter]] = {
    Keep: lambda share: Keep(),
    PVD: lambda share: PVD(steps=round(200 * share), rays=512),
    GaussiansToField: lambda share: GaussiansToField(
        start=PointFit(100, 2048), fit=PictureFit(round(250 * share), 48, 64, 512)
    ),
    SurfaceToField: lambda share: SurfaceToField(
        start=PointFit(round(150 * share), 2048), fit=PictureFit(round(250 * share), 48, 64, 512)
    ),
    ToSurface: lambda share: _to_surface(ToSurface, share),
    GaussiansToSurface: lambda share: _to_surface(GaussiansToSurface, share),
    ToGaussians: lambda share: ToGaussians(count=8000, fit=RenderedFit(round(100 * share), 64, normal=0.0)),
    ToTexturedMesh: lambda share: ToTexturedMesh(
        fit=RenderedFit(round(30 * share), 64, normal=0.0, rates=replace(RATES, geometry=0.0))
    ),
}
"How each converter is set; `share` multiplies its steps."


def converter_between(source: str, target: str, fit: bool) -> AbstractConverter:
    """The way that `dreamkit convert` takes, with the table's settings."""
    (hop,) = find_route(kind_of(source), kind_of(target))
    # The fit of a teacher has twice the steps, and so has what starts without features to match (PVD's first stage).
    twice = fit or (source == "voxel" and hop.converter is PVD and target != "voxel")
    return SETTINGS[hop.converter](_effort(hop.converter, target) * (2 if twice else 1))


def _to_surface(converter: type[ToSurface], share: float) -> ToSurface:
    fit = RenderedFit(round(50 * share), 64, normal=0.0, rates=replace(RATES, geometry=0.001))
    return converter(color_steps=round(150 * share), fit=fit)


def _effort(converter: type[AbstractConverter], target: str) -> float:
    """A network alone learns slowest; a grid that PVD fills has most from its start, and its steps are dear."""
    return 2.0 if target == "mlp" else 0.5 if (converter, target) == (PVD, "voxel") else 1.0


def goal(source: str, target: str) -> float:
    """dB: fields to fields, or where geometry changes its kind."""
    return 28.0 if {source, target} <= {*FIELDS, "truth"} else 24.0
