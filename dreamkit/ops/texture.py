"""Look a texture up: between texels, and between the levels of its mip-map."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from dreamkit.cameras import Cameras
from dreamkit.ops import _library, _nvdiffrast, _texture_native
from dreamkit.ops.rasterize import Fragments, interpolate_slope


def sample_texture(
    texture: Float[Tensor, "rows columns channels"],
    uv: Float[Tensor, "batch height width 2"],
    level: Float[Tensor, "batch height width 1"] | None = None,
) -> Float[Tensor, "batch height width channels"]:
    """Bilinear look-up, or trilinear where a `level` is given: `(1 - f) T_l(uv) + f T_(l+1)(uv)`, level = l + f.

    uv (0, 0) is the texture's top-left corner, a texel's middle is at +0.5, and coordinates outside [0, 1] meet the
    border. Level 0 is the texture; each further one is the mean of 2 x 2 texels of the one before (of up to 3 where
    a size is odd), down to one texel. Levels are cut to what there is; `footprint_level` computes them.
    Differentiable once in texture and uv; the level is a constant. Source: nvdiffrast (arXiv 2011.03277, section 3.3).
    Raises `ValueError` where types do not fit or the level asks for a gradient.
    """
    _validate(texture, uv, level)
    mips = [texture] if level is None else mip_maps(texture)
    nvdiffrast = _library.library("texture", texture)
    if nvdiffrast is not None and (level is None or _nvdiffrast.halves(texture)):
        return _nvdiffrast.texture(nvdiffrast, mips, uv, level)
    texels = torch.cat([mip.reshape(-1, texture.shape[-1]) for mip in mips])
    table = _level_table(mips)
    flat = uv.reshape(-1, 2), None if level is None else level.reshape(-1)
    native = _library.runs_native("texture", texture.device)
    found = _texture_native.texture(texels, table, *flat) if native else _reference(texels, table, *flat)
    return found.view(*uv.shape[:-1], texture.shape[-1])


def sample_texture_reference(
    texture: Float[Tensor, "rows columns channels"],
    uv: Float[Tensor, "batch height width 2"],
    level: Float[Tensor, "batch height width 1"] | None = None,
) -> Float[Tensor, "batch height width channels"]:
    """The same in plain torch."""
    mips = [texture] if level is None else mip_maps(texture)
    texels = torch.cat([mip.reshape(-1, texture.shape[-1]) for mip in mips])
    found = _reference(texels, _level_table(mips), uv.reshape(-1, 2), None if level is None else level.reshape(-1))
    return found.view(*uv.shape[:-1], texture.shape[-1])


def mip_maps(texture: Float[Tensor, "rows columns channels"]) -> list[Float[Tensor, "_rows _columns channels"]]:
    """The texture and its means over ever larger squares, down to one texel; differentiable."""
    mips = [texture]
    while max(mips[-1].shape[:2]) > 1:
        rows, columns, _ = mips[-1].shape
        size = max(1, rows // 2), max(1, columns // 2)
        mips.append(functional.adaptive_avg_pool2d(mips[-1].permute(2, 0, 1), size).permute(1, 2, 0))
    return mips


def footprint_level(
    uv: Float[Tensor, "coordinates 2"],
    uv_faces: Int[Tensor, "faces 3"],
    fragments: Fragments,
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    size: tuple[int, int],
) -> Float[Tensor, "batch height width 1"]:
    """The mip level whose texels are as large as a pixel: `log2 max(|d(uv)/dx|, |d(uv)/dy|)` in texels, at least 0.

    `size` counts the texture's rows and columns. Zero where nothing is seen; without a gradient.
    """
    with torch.no_grad():
        slope = interpolate_slope(uv, uv_faces, fragments, vertices, faces, cameras)
        texels = slope * torch.tensor([size[1], size[0]], dtype=slope.dtype, device=slope.device).unsqueeze(-1)
        return texels.norm(dim=-2).amax(dim=-1, keepdim=True).clamp_min(1).log2()


def _validate(texture: Tensor, uv: Tensor, level: Tensor | None) -> None:
    types = {texture.dtype, uv.dtype} | (set() if level is None else {level.dtype})
    if types not in ({torch.float32}, {torch.float64}):
        raise ValueError(
            f"sample_texture: texture, uv and level are {sorted(map(str, types))}; expected all float32 or all float64 "
            "(under autocast, use .float())"
        )
    if not texture.numel():
        raise ValueError(f"sample_texture: the texture has shape {tuple(texture.shape)}; expected at least one texel")
    if level is not None and level.requires_grad:
        raise ValueError("sample_texture: the level has no gradient; pass it detached")


def _level_table(mips: list[Tensor]) -> Int[Tensor, "levels 3"]:
    """First texel, rows and columns of each level."""
    rows, first = [], 0
    for mip in mips:
        rows.append([first, *mip.shape[:2]])
        first += mip.shape[0] * mip.shape[1]
    return torch.tensor(rows, device=mips[0].device)


def _reference(texels: Tensor, table: Tensor, uv: Tensor, level: Tensor | None) -> Tensor:
    if level is None:
        return _bilinear(texels, table[:1].expand(len(uv), 3), uv)
    # NaN would not be an index.
    level = level.nan_to_num().clamp(0, len(table) - 1).unsqueeze(-1)
    fine = level[:, 0].long()
    share = level - fine.unsqueeze(-1)
    coarse = (fine + 1).clamp_max(len(table) - 1)
    return (1 - share) * _bilinear(texels, table[fine], uv) + share * _bilinear(texels, table[coarse], uv)


def _bilinear(texels: Tensor, where: Int[Tensor, "samples 3"], uv: Float[Tensor, "samples 2"]) -> Tensor:
    first, rows, columns = where.unbind(dim=-1)
    size = torch.stack([columns, rows], dim=-1)
    position = uv * size.to(uv) - 0.5
    corner = position.detach().floor()
    x, y = (position - corner).unsqueeze(-1).unbind(dim=1)

    def texel(right: int, down: int) -> Tensor:
        moved = corner + torch.tensor([right, down], dtype=uv.dtype, device=uv.device)
        at = moved.nan_to_num().clamp_min(0).minimum((size - 1).to(uv)).long()
        return texels[first + at[:, 1] * columns + at[:, 0]]

    upper = (1 - x) * texel(0, 0) + x * texel(1, 0)
    return (1 - y) * upper + y * ((1 - x) * texel(0, 1) + x * texel(1, 1))
