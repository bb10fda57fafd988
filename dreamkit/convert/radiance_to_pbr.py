"""Progressive radiance distillation: the same shape with a material that can be lit anew, and no leap on the way."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import Cameras, OrbitSampler
from dreamkit.construct import Spec
from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import difference, judging_cameras
from dreamkit.convert.learnt_light import LearntLight, Progress
from dreamkit.convert.rendered_fit import ALL_AROUND, scaled
from dreamkit.materials.base import AbstractMaterial
from dreamkit.materials.pbr import PBR
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Rendering, Step
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.grid_surface import GridSurface

BRIGHT = 4.6
"Raw channel of a base colour and a roughness of 0.99, which is where they start."


@dataclass(frozen=True)
class Recovery:
    """A student on its way: its scene under the learnt light, and its progress map."""

    physical: Scene
    progress: Scene

    @property
    def light(self) -> LearntLight:
        """The material of the physical scene."""
        assert isinstance(self.physical.material, LearntLight)
        return self.physical.material

    @property
    def share(self) -> Progress:
        """The material of the progress map."""
        assert isinstance(self.progress.material, Progress)
        return self.progress.material


@dataclass(frozen=True)
class RadianceToPbr(AbstractConverter):
    """`I = a I_phy + (1 - a) I_raw` is taught to look like I_raw while a grows: `L = |I - I_raw| + 0.08 (1 - a)^2`.

    I_raw are the teacher's own pictures, I_phy those of the same shape with a metallic-roughness material under one
    learnt light, a the learnt progress of each place: physical where that serves, radiance elsewhere. Three stages, by
    shares of the steps: until `specular`, all is metal, base colour and roughness start at 0.99 and a rests at `start`;
    until `joint`, metallic is free and a grows (weight `progress` of `(1 - a)^2` over the mask, weight `neutral` of the
    light's distance from grey); then a learns at 0.7 of its rate. The shape stays as it is; the learnt light and a are
    dropped at the end. Source: arXiv 2408.07595, by way of method card representations 3. Left out: visibility, tone
    mapping, geometry. Raises ValueError unless the student's material is PBR.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians, GridSurface)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (Gaussians, GridSurface)
    rank: ClassVar[int] = 10
    "Only where it is asked for: it changes the material, not the kind."

    steps: int = 600
    specular: float = 0.15
    joint: float = 0.7
    size: int = 64
    views: int = 2
    start: float = 0.01
    progress: float = 0.08
    neutral: float = 0.003
    rows: int = 16
    "Of the learnt environment map."
    rate: float = 0.02
    cameras: OrbitSampler = ALL_AROUND

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.specular <= self.joint <= 1 or not 0 < self.start < 1:
            raise ValueError(
                "RadianceToPbr needs steps >= 1, 0 <= specular <= joint <= 1 and 0 < start < 1; got "
                f"steps={self.steps}, specular={self.specular}, joint={self.joint}, start={self.start}"
            )

    @classmethod
    def joins(cls, source: type[AbstractShape], target: type[AbstractShape]) -> bool:
        """A kind to itself."""
        return source is target and super().joins(source, target)

    def shape_options(self, teacher: Scene) -> Mapping[str, Any]:
        """See `AbstractConverter.shape_options`: a shape of the teacher's size with a PBR material's channels."""
        shape = teacher.shape
        same = {"flat": shape.flat} if isinstance(shape, Gaussians) else {}
        same |= {"resolution": shape.resolution} if isinstance(shape, GridSurface) else {}
        return {"channels": PBR().channels, **same}

    def material(self) -> Spec | None:
        """See `AbstractConverter.material`."""
        return Spec(PBR, "pbr", {})

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`. The report compares the student under the learnt light."""
        self.check(teacher, student)
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        teacher.eval()
        recovery = self.begin(teacher, student, seed)
        yield from self.distil(teacher, recovery, generator)
        student.eval()
        cameras = judging_cameras(self.size, 2.5 * student.shape.radius)
        with torch.no_grad():
            mine, theirs = recovery.physical.render(cameras, normals=True), self.radiance(teacher, cameras)
        return difference(theirs, mine, time.perf_counter() - start)

    def begin(self, teacher: Scene, student: Scene, seed: int) -> Recovery:
        """Give the student the teacher's shape, and a material that knows nothing."""
        if not isinstance(student.material, PBR):
            raise ValueError(
                f"radiance distillation makes a PBR material; the student has {type(student.material).__name__}"
            )
        _take_shape(teacher.shape, student.shape)
        light = LearntLight(student.material, self.rows)
        share = Progress(student.shape.radius, student.shape.channels, self.start, seed)
        return Recovery(*(_dressed(teacher, student.shape, material) for material in (light, share)))

    def radiance(self, teacher: Scene, cameras: Cameras) -> Rendering:
        """The teacher's pictures."""
        return teacher.render(cameras, normals=teacher.material.needs_normal)

    def distil(self, teacher: Scene, recovery: Recovery, generator: torch.Generator) -> Iterator[Step]:
        """All three stages."""
        optimizer = self._optimizer(recovery)
        for step in range(self.steps):
            done = step / self.steps
            recovery.light.mirror, recovery.share.free = done < self.specular, done >= self.specular
            optimizer.param_groups[-1]["lr"] = self.rate * (1.0 if done < self.joint else 0.7)
            terms = self.terms(teacher, recovery, generator)
            loss = torch.stack([term for name, term in terms.items() if name != "reached"]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            metrics = {name: float(term.detach()) for name, term in terms.items()}
            yield Step(step + 1, self.steps, float(loss.detach()), metrics, stage="distil radiance")
        recovery.light.mirror, recovery.share.free = False, True

    def terms(self, teacher: Scene, recovery: Recovery, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """The weighted parts of the loss on fresh views, and `reached`, the mean progress over the mask."""
        cameras = scaled(self.cameras, teacher.shape.radius).sample(self.views, self.size, self.size, generator)
        behind = teacher.background.color(cameras.rays().directions)
        with torch.no_grad():
            raw = self.radiance(teacher, cameras)
        physical = recovery.physical.render(cameras, normals=True)
        share, mask = progress_map(recovery.progress.render(cameras), behind)
        shown = blend(share, physical.color, raw.color)
        terms = {"color": (shown - raw.color).abs().mean()}
        if not recovery.light.mirror:
            light = recovery.light.light
            terms["progress"] = self.progress * (mask * (1 - share).square()).sum() / mask.sum().clamp_min(1)
            terms["light"] = self.neutral * (light - light.mean(dim=-1, keepdim=True)).abs().sum(dim=-1).mean()
        terms["reached"] = (mask * share.detach()).sum() / mask.sum().clamp_min(1)
        return terms

    def _optimizer(self, recovery: Recovery) -> torch.optim.Adam:
        shape = recovery.physical.shape
        # The surface's own numbers, not its geometry.
        surface = [shape.colors] if isinstance(shape, Gaussians) else []
        if isinstance(shape, GridSurface):
            surface = [p for group in shape.texture.parameter_groups() for p in group.parameters]
        parts = (surface, [recovery.light.log_light], list(recovery.share.parameters()))
        return torch.optim.Adam([{"params": part, "lr": self.rate} for part in parts], eps=1e-15)


def blend(
    share: Float[Tensor, "*image 1"], physical: Float[Tensor, "*image 3"], raw: Float[Tensor, "*image 3"]
) -> Float[Tensor, "*image 3"]:
    """`a I_phy + (1 - a) I_raw`: dI/dI_phy = a and dI/da = I_phy - I_raw (card rep 3.3)."""
    return share * physical + (1 - share) * raw


def progress_map(
    drawn: Rendering, behind: Float[Tensor, "batch height width 3"]
) -> tuple[Float[Tensor, "batch height width 1"], Float[Tensor, "batch height width 1"]]:
    """The progress of what each pixel sees, without the background, and the mask of pixels that see something."""
    alpha = drawn.alpha.detach()
    mask = (alpha > 0.5).to(alpha)
    share = (drawn.color - (1 - alpha) * behind)[..., :1] / alpha.clamp_min(0.5)
    return share.clamp(0, 1) * mask, mask


def _dressed(teacher: Scene, shape: AbstractShape, material: AbstractMaterial) -> Scene:
    return Scene(shape, material, teacher.background, teacher.renderer)


@torch.no_grad()
def _take_shape(teacher: AbstractShape, student: AbstractShape) -> None:
    """The teacher's geometry; base colour and roughness of 0.99 everywhere."""
    start = torch.full((student.channels,), BRIGHT)
    start[3], start[5:] = 0.0, 0.0
    if isinstance(teacher, Gaussians) and isinstance(student, Gaussians):
        colors = start.expand(len(teacher.positions), 1, -1)
        student.replace_cloud(changed(teacher.cloud, colors=colors.to(teacher.positions)))
    if isinstance(teacher, GridSurface) and isinstance(student, GridSurface):
        for mine, theirs in zip(student.geometry_parameters(), teacher.geometry_parameters(), strict=True):
            mine.copy_(theirs)
        _paint(student, start)


@torch.enable_grad()
def _paint(student: GridSurface, start: Float[Tensor, " channels"], steps: int = 60) -> None:
    """Teach a texture one value on its surface."""
    points = student.mesh().vertices.detach()
    optimizer = torch.optim.Adam(student.texture.parameters(), lr=0.02, eps=1e-15)
    for _ in range(steps):
        loss = (student.texture(points) - start).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if not math.isfinite(float(loss.detach())):
        raise ValueError("the student's texture cannot be taught a constant; is its surface empty?")
