"""The very triangles, or the very Gaussians, of another scene: nothing is fitted, only what holds them is new."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from dreamkit.convert.base import AbstractConverter, Conversion
from dreamkit.convert.fidelity import compare
from dreamkit.convert.to_textured_mesh import painted
from dreamkit.convert.unwrap import unwrap
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.textured_mesh import TexturedMesh

DARKEST = 1e-3
"Display colours are kept this far from 0 and 1 where a logit is taken."


@dataclass(frozen=True)
class Keep(AbstractConverter):
    """Corners, triangles and texture coordinates bit for bit, on a texture of the student's size; or the same cloud.

    Of the teacher's colours c the student keeps a share: its raw channels are `colors` logit(c) and fresh ones for the
    rest, `(1 - colors)` of them, so that 0 is a new start (grey) and 1 the old look. Channels beyond the colour are
    fresh unless both materials are of one kind. `unwrap` lays the triangles out anew, for meshes whose own coordinates
    share texels: palettes, mirrored halves. Clouds keep their colours whatever `colors` says, and as many harmonics as
    the student has. Raises ValueError for a share outside [0, 1].
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (TexturedMesh, Gaussians)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (TexturedMesh, Gaussians)
    rank: ClassVar[int] = -1
    "Before those that read everything, and fit."

    colors: float = 1.0
    unwrap: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.colors <= 1:
            raise ValueError(f"the share of the colours that are kept lies in [0, 1]; got colors={self.colors}")

    @classmethod
    def joins(cls, source: type[AbstractShape], target: type[AbstractShape]) -> bool:
        """A kind to itself."""
        return source is target and super().joins(source, target)

    def shape_options(self, teacher: Scene) -> Mapping[str, Any]:
        """As many harmonics as the cloud has, and its flatness."""
        shape = teacher.shape
        return {"degree": shape.degree, "flat": shape.flat} if isinstance(shape, Gaussians) else {}

    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """See `AbstractConverter.convert`."""
        self.check(teacher, student)
        start = time.perf_counter()
        yield Step(1, 1, 0.0, note="the shape is kept as it is", stage="convert")
        old, new = teacher.shape, student.shape
        with torch.no_grad():
            if isinstance(old, Gaussians) and isinstance(new, Gaussians):
                _keep_cloud(old, new, teacher, student)
            elif isinstance(old, TexturedMesh) and isinstance(new, TexturedMesh):
                mesh = Mesh(old.vertices.detach(), old.faces, old.uv, old.uv_faces)
                mesh = unwrap(mesh, new.texture) if self.unwrap else mesh
                new.replace_mesh(mesh, self._texels(teacher, student, mesh))
        return compare(teacher, student, seconds=time.perf_counter() - start)

    def _texels(self, teacher: Scene, student: Scene, mesh: Mesh) -> Float[Tensor, "rows columns channels"]:
        old, new = teacher.shape, student.shape
        assert isinstance(old, TexturedMesh)
        assert isinstance(new, TexturedMesh)
        raw = painted(old, mesh, new.texture) if self.unwrap else _resized(old.texels.detach(), new.texture)
        fresh = new.texels.detach()
        kept = _as_raw(raw, teacher, student, fresh)
        return kept * self.colors + fresh * (1 - self.colors)


def _resized(texels: Float[Tensor, "rows columns channels"], size: int) -> Float[Tensor, "size size channels"]:
    """Means of texels where there are more, bilinear between them where there are fewer."""
    if texels.shape[:2] == (size, size):
        return texels
    image = texels.permute(2, 0, 1).unsqueeze(0)
    resized = functional.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).contiguous()


def _as_raw(
    raw: Float[Tensor, "*places old"], teacher: Scene, student: Scene, fresh: Float[Tensor, "*places new"]
) -> Float[Tensor, "*places new"]:
    """The teacher's channels as the student's material reads them: every material's colour is a sigmoid of the first
    three."""
    if type(teacher.material) is type(student.material):
        return raw
    color = teacher.material.base_color(raw.reshape(-1, raw.shape[-1])).clamp(DARKEST, 1 - DARKEST)
    return torch.cat([color.logit().view(*raw.shape[:-1], 3), fresh[..., 3:]], dim=-1)


def _keep_cloud(old: Gaussians, new: Gaussians, teacher: Scene, student: Scene) -> None:
    cloud, terms = old.cloud, (new.degree + 1) ** 2
    count = min(terms, cloud.colors.shape[1])
    fresh = cloud.colors.new_zeros(len(cloud), terms, new.channels)
    fresh[:, :1] = _as_raw(cloud.colors[:, :1], teacher, student, fresh[:, :1])
    if type(teacher.material) is type(student.material):
        fresh[:, 1:count] = cloud.colors[:, 1:count]
    # Surfels are as thick as they are drawn; a logarithm of an exponential would not be bit for bit.
    scales = old.deviations.log() if old.flat and not new.flat else cloud.scales
    new.replace_cloud(replace(cloud, scales=scales, colors=fresh))
