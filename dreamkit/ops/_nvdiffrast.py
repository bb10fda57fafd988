"""nvdiffrast behind `rasterize`, `interpolate`, `antialias` and `texture`; the contracts are in the ops' files.

It counts rows from the bottom of clip space, where y grows upwards. Here clip space is made upside down, so that row 0
is our top row; it neither culls nor minds. A pixel is `(u, v, z/w, face + 1)`, u and v being the weights of a face's
first two corners. Corners are rounded to 1/16 pixel, so single pixels along edges may belong to the neighbour.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

MOST_FACES = 1 << 24
"The number of a face travels as a float."


def sees_all(projected: Tensor, faces: Tensor, near: float) -> bool:
    """Whether it draws what our op draws: all corners finite and before the near plane (it would cut faces there)."""
    if not 0 < len(faces) < MOST_FACES or near <= 0:
        return False
    depth = projected[..., 2]
    return bool(projected.isfinite().all() & (depth > near).all())


def rasterize(
    nvdiffrast: ModuleType, projected: Tensor, faces: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Barycentric, depth and triangle; `projected` are pixel coordinates and depths, `batch vertices 3`."""
    found, _ = nvdiffrast.rasterize(
        _context(nvdiffrast, str(projected.device)), to_clip(projected, size), faces.int(), size, grad_db=False
    )
    triangle = found[..., 3].detach().long() - 1
    seen = (triangle >= 0).unsqueeze(-1)
    u, v = found[..., :1], found[..., 1:2]
    barycentric = torch.cat([u, v, 1 - u - v], dim=-1) * seen
    corners = faces[triangle.clamp_min(0)]
    depths = projected[..., 2].gather(1, corners.flatten(1)).view(corners.shape)
    return barycentric, (barycentric * depths).sum(dim=-1, keepdim=True), triangle


def interpolate(nvdiffrast: ModuleType, attribute: Tensor, faces: Tensor, triangle: Tensor, weights: Tensor) -> Tensor:
    """`sum_i b_i A_i`. The gradient in the weights is that along `sum_i b_i = 1`, on which all of them lie."""
    rast = _pixels(weights, torch.zeros_like(weights[..., :1]), triangle)
    return nvdiffrast.interpolate(attribute.unsqueeze(0).contiguous(), rast, faces.int())[0]


def antialias(
    nvdiffrast: ModuleType, image: Tensor, projected: Tensor, faces: Tensor, triangle: Tensor, depth: Tensor
) -> Tensor:
    """Blended along the silhouettes that it finds with a table of edges of its own."""
    size = image.shape[1], image.shape[2]
    safe = torch.where(triangle.unsqueeze(-1) >= 0, depth, 1.0)
    rast = _pixels(image.new_zeros(*triangle.shape, 2), _clip_depth(safe, *_limits(projected)) / safe, triangle)
    return nvdiffrast.antialias(image.contiguous(), rast, to_clip(projected, size), faces.int())


def halves(texture: Tensor) -> bool:
    """Whether every level of the mip-map is half of the one before: it knows no other."""
    return all(size & (size - 1) == 0 for size in texture.shape[:2])


def texture(nvdiffrast: ModuleType, mips: list[Tensor], uv: Tensor, level: Tensor | None) -> Tensor:
    """Linear between texels and levels, the border repeated; its row 0 is at v = 0, as ours is."""
    base, *smaller = [mip.unsqueeze(0).contiguous() for mip in mips]
    if level is None or not smaller:
        return nvdiffrast.texture(base, uv.contiguous(), filter_mode="linear", boundary_mode="clamp")
    return nvdiffrast.texture(
        *(base, uv.contiguous()),
        mip_level_bias=level.squeeze(-1).contiguous(),
        mip=smaller,
        filter_mode="linear-mipmap-linear",
        boundary_mode="clamp",
    )


def to_clip(projected: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels and depth to clip space with y downwards: `((2 x / W - 1) w, (2 y / H - 1) w, z, w)`, w the depth."""
    height, width = size
    x, y, depth = projected.unbind(dim=-1)
    z = _clip_depth(depth, *_limits(projected))
    return torch.stack([(2 * x / width - 1) * depth, (2 * y / height - 1) * depth, z, depth], dim=-1)


def _limits(projected: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the near and the far plane: just around what there is."""
    low, high = projected[..., 2].detach().aminmax()
    return 0.99 * low, 1.01 * high


def _clip_depth(depth: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """z, so that z / w runs from -1 on the near plane to 1 on the far one."""
    return ((far + near) * depth - 2 * far * near) / (far - near)


def _pixels(weights: Tensor, depth: Tensor, triangle: Tensor) -> Tensor:
    return torch.cat([weights[..., :2], depth, (triangle + 1).unsqueeze(-1).to(depth)], dim=-1).contiguous()


@cache
def _context(nvdiffrast: ModuleType, device: str) -> Any:
    return nvdiffrast.RasterizeCudaContext(device=device)
