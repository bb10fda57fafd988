"""Stand-ins for nerfacc, tiny-cuda-nn and nvdiffrast: the same signatures and conventions, in plain torch.

Written from the libraries' documentation and sources (nerfacc 0.5.3, tiny-cuda-nn 2.0, nvdiffrast 0.4), so that what
the adapters make of those conventions is tested without a GPU.
"""

from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from dreamkit.ops import antialias as our_antialias
from dreamkit.ops.rasterize import Fragments


def traverse_grids(rays_o, rays_d, binaries, aabbs, near_planes, far_planes, step_size):
    """Intervals [near + k step, near + (k + 1) step] whose middle lies in an occupied cell, before the far plane."""
    assert binaries.ndim == 4
    assert aabbs.shape == (len(binaries), 6)
    low, high = aabbs[0, :3], aabbs[0, 3:]
    found: list[list[float]] = []
    for origin, direction, near, far in zip(rays_o, rays_d, near_planes, far_planes, strict=True):
        found.append([])
        # As in the kernel, the step is added up in float32.
        last = near
        for _ in range(200):
            middle = last + 0.5 * step_size
            last = last + step_size
            place = (origin + middle * direction - low) / (high - low)
            inside = bool((place >= 0).all() & (place < 1).all() & (middle < far))
            if inside and bool(binaries[0][tuple((place * len(binaries[0])).long().tolist())]):
                found[-1].append(float(middle))
    count = torch.tensor([len(ray) for ray in found])
    packed = torch.stack([count.cumsum(0) - count, count], dim=-1)
    middles = rays_o.new_tensor([middle for ray in found for middle in ray])
    samples = SimpleNamespace(
        vals=middles, ray_indices=torch.repeat_interleave(torch.arange(len(found)), count), packed_info=packed
    )
    return None, samples, None


def render_weight_from_density(t_starts, t_ends, sigmas, packed_info):
    """Weights, transmittances before, alphas."""
    optical = sigmas * (t_ends - t_starts)
    alphas = 1 - torch.exp(-optical)
    passed = [part.cumsum(0) - part for part in optical.split(packed_info[:, 1].tolist())]
    through = torch.exp(-torch.cat(passed))
    return through * alphas, through, alphas


def accumulate_along_rays(weights, values=None, ray_indices=None, n_rays=None):
    source = weights[:, None] if values is None else weights[:, None] * values
    return source.new_zeros(n_rays, source.shape[1]).index_add(0, ray_indices, source)


class Encoding(nn.Module):
    """A hash grid by tiny-cuda-nn's rules, in 32-bit integers and floats."""

    def __init__(self, n_input_dims, encoding_config, seed=1337, dtype=None):
        super().__init__()
        assert n_input_dims == 3
        assert dtype == torch.float32
        assert encoding_config["otype"] == "HashGrid"
        self.config = encoding_config
        most = 2 ** encoding_config["log2_hashmap_size"]
        powers = encoding_config["per_level_scale"] ** torch.arange(encoding_config["n_levels"], dtype=torch.float32)
        self.scales = powers * encoding_config["base_resolution"] - 1
        self.sides = (self.scales.ceil() + 1).long()
        self.sizes = [min(most, -(-(int(side) ** 3) // 8) * 8) for side in self.sides]
        self.params = nn.Parameter(torch.zeros(sum(self.sizes) * encoding_config["n_features_per_level"]))

    def forward(self, x: Tensor) -> Tensor:
        table = self.params.view(-1, self.config["n_features_per_level"])
        parts = table.split(self.sizes)
        levels = [self._level(x, *level) for level in zip(parts, self.scales, self.sides, strict=True)]
        # As where it pads the output for a network.
        return torch.cat([*levels, torch.ones(len(x), 3)], dim=1)

    def _level(self, x: Tensor, table: Tensor, scale: Tensor, side: Tensor) -> Tensor:
        place = x * scale + 0.5
        cell = place.detach().floor()
        share = place - cell
        if self.config["interpolation"] == "Smoothstep":
            share = share**2 * (3 - 2 * share)
        total = torch.zeros(len(x), table.shape[1])
        for corner in range(8):
            bits = torch.tensor([corner >> axis & 1 for axis in range(3)])
            weight = torch.where(bits.bool(), share, 1 - share).prod(dim=1)
            total = total + weight[:, None] * table[self._entry(cell.long() + bits, len(table), int(side))]
        return total

    def _entry(self, vertex: Tensor, size: int, side: int) -> Tensor:
        word = 2**32
        x, y, z = vertex.unbind(dim=1)
        if side**3 <= size:
            return (x + y * side + z * side**2) % word % size
        return (x ^ y * 2654435761 % word ^ z * 805459861 % word) % size


def rasterize(glctx, pos, tri, resolution, ranges=None, grad_db=True):
    """(u, v, z/w, face + 1) of the nearest face at the middle of each pixel; row 0 at y = -1."""
    assert pos.is_contiguous()
    assert pos.dtype == torch.float32
    assert tri.dtype == torch.int32
    rows, columns = ((2 * torch.arange(size) + 1) / size - 1 for size in resolution)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    ray = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    corners = pos[:, tri.long()]
    # Homogeneous edge functions: the weights of a point with x / w, y / w are its coordinates in the corners.
    matrix = corners[..., [0, 1, 3]].transpose(-1, -2)
    weights = torch.einsum("bfij,hwj->bhwfi", torch.linalg.inv(matrix), ray)
    inside = (weights > 0).all(dim=-1)
    share = weights / weights.sum(dim=-1, keepdim=True)
    z, w = ((share * corners[:, None, None, ..., axis]).sum(dim=-1) for axis in (2, 3))
    depth = torch.where(inside & ((z / w).abs() <= 1), z / w, torch.inf)
    nearest, face = depth.min(dim=-1)
    seen = nearest.isfinite()
    picked = share.gather(3, face[..., None, None].expand(*face.shape, 1, 3)).squeeze(3)
    zero = torch.zeros_like(nearest)
    out = [torch.where(seen, value, zero) for value in (picked[..., 0], picked[..., 1], nearest, face + 1.0)]
    return torch.stack(out, dim=-1), None


def interpolate(attr, rast, tri):
    assert attr.shape[0] == 1
    face = rast[..., 3].long() - 1
    corners = attr[0][tri.long()[face.clamp_min(0)]]
    u, v = rast[..., :1], rast[..., 1:2]
    value = u * corners[..., 0, :] + v * corners[..., 1, :] + (1 - u - v) * corners[..., 2, :]
    return value * (face >= 0).unsqueeze(-1), None


def antialias(color, rast, pos, tri):
    """Our formula, which is nvdiffrast's, on what its conventions say; of depths it knows z / w only."""
    height, width = color.shape[1:3]
    x, y, _, w = pos.unbind(dim=-1)
    pixels = torch.stack([(x / w + 1) * width / 2, (y / w + 1) * height / 2, w], dim=-1)
    triangle = rast[..., 3].long() - 1
    fragments = Fragments(triangle, torch.zeros(*triangle.shape, 3), rast[..., 2:3] + 2)
    opposite = our_antialias.opposite_vertices(tri.long())
    return our_antialias._reference(color, fragments, pixels, tri.long(), opposite, 0.0)


def texture(tex, uv, mip_level_bias=None, mip=None, filter_mode="auto", boundary_mode="wrap"):
    """Row 0 at v = 0; levels as large as the rule says, the bias is the level."""
    assert boundary_mode == "clamp"
    if filter_mode == "linear":
        return _bilinear(tex, uv)
    assert filter_mode == "linear-mipmap-linear"
    for finer, coarser in zip([tex, *mip], mip, strict=False):
        assert all(new == max(1, old // 2) for old, new in zip(finer.shape[1:3], coarser.shape[1:3], strict=True))
    stack = torch.stack([_bilinear(level, uv) for level in (tex, *mip)])
    level = mip_level_bias.clamp(0, len(mip))
    hats = (1 - (level - torch.arange(len(stack)).view(-1, 1, 1, 1)).abs()).clamp_min(0)
    return (hats.unsqueeze(-1) * stack).sum(dim=0)


def _bilinear(tex: Tensor, uv: Tensor) -> Tensor:
    images = tex.permute(0, 3, 1, 2).expand(len(uv), -1, -1, -1)
    found = nn.functional.grid_sample(images, 2 * uv - 1, padding_mode="border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def stand_in(name: str) -> ModuleType:
    """A module of that name with the functions that its adapter calls."""
    module = ModuleType(name)
    parts = {
        "nerfacc": (traverse_grids, render_weight_from_density, accumulate_along_rays),
        "tinycudann": (Encoding,),
        "nvdiffrast": (rasterize, interpolate, antialias, texture),
    }
    for part in parts[name]:
        setattr(module, part.__name__, part)
    module.RasterizeCudaContext = lambda device=None: device
    return module
