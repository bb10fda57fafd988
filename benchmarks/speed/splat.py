"""How much faster native splatting is than the reference and than gsplat's own pure-torch path, in one process.

    python benchmarks/speed/splat.py --threads 1 --json splat.json

10 000 Gaussians at 256x256, forward and backward with respect to everything. gsplat's torch path is its projection
(`gsplat.cuda._torch_impl._fully_fused_projection`) and its compositing (`accumulate`); the list of (Gaussian, pixel)
pairs between them comes from a CUDA kernel in gsplat, and from `bin_tiles` here, which favours gsplat; so does leaving
out `nerfacc`, whose two sums are written in torch. Times are processor seconds, so that a busy machine does not count.
"""

import argparse
import importlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.ops.splat import splat, splat_reference
from dreamkit.ops.splat_projection import LEAST_ALPHA, camera_frames, project_reference
from dreamkit.ops.splat_tiles import TILE, bin_tiles

Draw = Callable[..., tuple[Tensor, Tensor]]


def cloud(count: int, generator: torch.Generator) -> list[Tensor]:
    """A shell of Gaussians of radius 0.6, as a trained object is; three colours."""
    means = torch.randn(count, 3, generator=generator)
    means = 0.6 * means / means.norm(dim=-1, keepdim=True)
    scales = 0.02 * (0.5 + torch.rand(count, 3, generator=generator))
    rotations = torch.randn(count, 4, generator=generator)
    opacities = 0.3 + 0.6 * torch.rand(count, generator=generator)
    colors = torch.rand(1, count, 3, generator=generator)
    return [tensor.requires_grad_() for tensor in (means, scales, rotations, opacities, colors)]


def gsplat_torch(
    means: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor, values: Tensor, cameras: Cameras
) -> tuple[Tensor, Tensor]:
    """One view through gsplat's torch functions, classic mode."""
    torch_path = importlib.import_module("gsplat.cuda._torch_impl")
    height, width = cameras.height, cameras.width
    rotation, translation, focal = camera_frames(cameras, means.dtype)
    pose = torch.eye(4).repeat(1, 1, 1)
    pose[:, :3, :3], pose[:, :3, 3] = rotation, translation
    lens = torch.tensor([[[float(focal), 0, width / 2], [0, float(focal), height / 2], [0, 0, 1]]])
    covariances, _ = torch_path._quat_scale_to_covar_preci(rotations, scales, True, False, False)
    radii, centre, depth, conics, _ = torch_path._fully_fused_projection(
        means, covariances, pose, lens, width, height, near_plane=0.2
    )
    reach = radii.float() if radii.ndim == 3 else radii.float().unsqueeze(-1).expand(-1, -1, 2)
    tiles = bin_tiles(centre.detach(), reach, reach.amax(dim=-1), depth.detach(), height, width)
    splats, pixels, alphas = pairs(centre[0], conics[0], opacities, tiles, width)
    # nerfacc's render_weight_from_alpha and accumulate_along_rays
    # In double precision: the sum runs over all pixels, where nerfacc starts again at each.
    passed = torch.log1p(-alphas).double().cumsum(dim=0) - torch.log1p(-alphas)
    first = torch.searchsorted(pixels, torch.arange(height * width))
    start = torch.cat([passed, passed[-1:]])[first.clamp(max=len(passed))]
    weights = alphas * torch.exp(passed - start[pixels]).float()
    accumulated = torch.zeros(height * width, 3).index_add(0, pixels, weights[:, None] * values[0, splats])
    alpha = torch.zeros(height * width).index_add(0, pixels, weights)
    return accumulated.view(1, height, width, 3), alpha.view(1, height, width, 1)


def pairs(centre: Tensor, conics: Tensor, opacities: Tensor, tiles, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """(Gaussian, pixel) pairs with alpha >= 1/255, pixel by pixel and nearest first; then gsplat's formula of alpha."""
    counts = tiles.starts[1:] - tiles.starts[:-1]
    tile = torch.repeat_interleave(torch.arange(len(counts)), counts)
    inner = torch.arange(TILE * TILE)
    x = (tile % tiles.columns * TILE)[:, None] + inner % TILE
    y = (tile // tiles.columns * TILE)[:, None] + inner // TILE
    splats, pixels = tiles.splat[:, None].expand_as(x).reshape(-1), (y * width + x).reshape(-1)

    def alpha(some: Tensor, where: Tensor) -> Tensor:
        delta = torch.stack([where % width, where // width], dim=-1) + 0.5 - centre[some]
        c = conics[some]
        sigma = 0.5 * (c[:, 0] * delta[:, 0] ** 2 + c[:, 2] * delta[:, 1] ** 2) + c[:, 1] * delta[:, 0] * delta[:, 1]
        return torch.clamp_max(opacities[some] * torch.exp(-sigma), 0.999)

    with torch.no_grad():
        kept = (alpha(splats, pixels) >= LEAST_ALPHA).nonzero().squeeze(-1)
        kept = kept[pixels[kept].argsort(stable=True)]
    return splats[kept], pixels[kept], alpha(splats[kept], pixels[kept])


def timed(draw: Draw, inputs: list[Tensor]) -> tuple[float, float, Tensor]:
    """Milliseconds of processor time, forward and backward, and the picture."""
    start = time.process_time()
    images = draw()
    middle = time.process_time()
    torch.autograd.grad(images, inputs, [torch.ones_like(image) for image in images])
    return (middle - start) * 1e3, (time.process_time() - middle) * 1e3, images[0].detach()


def work(inputs: list[Tensor], cameras: Cameras) -> tuple[int, float, float]:
    """Pairs of Gaussian and tile; floating-point operations and bytes of an ideal forward pass."""
    means, scales, rotations, opacities, values = (tensor.detach() for tensor in inputs)
    seen = project_reference(means, scales, rotations, opacities, cameras, False, 0.2)
    tiles = bin_tiles(seen.centre, seen.reach, seen.radius, seen.depth, cameras.height, cameras.width)
    # The ellipse of alpha >= 1/255 fills pi / 4 of its box, roughly.
    touched = math.pi * seen.reach.prod(dim=-1).sum()
    # 20 for the exponent and the exponential, 8 for the compositing, 2 a channel.
    flops = float(touched) * (28 + 2 * values.shape[-1])
    moved = 4.0 * (len(means) * (14 + values.shape[-1]) + len(tiles.splat) * 9 + cameras.height * cameras.width * 5)
    return len(tiles.splat), flops, moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    inputs = cloud(arguments.count, torch.Generator().manual_seed(0))
    cameras = orbit([30.0], 15.0, height=arguments.size, width=arguments.size)

    def ours(run: Callable) -> Draw:
        def draw() -> tuple[Tensor, Tensor]:
            drawn = run(*inputs, cameras, antialiased=False)
            return drawn.accumulated, drawn.alpha

        return draw

    draws = {
        "native": ours(splat),
        "reference": ours(splat_reference),
        "gsplat": lambda: gsplat_torch(*inputs, cameras),
    }
    times: dict[str, list[tuple[float, float, Tensor]]] = {name: [] for name in draws}
    for _ in range(arguments.turns):
        for name, draw in draws.items():
            times[name] += [timed(draw, inputs) for _ in range(5 if name == "native" else 1)]
    count, flops, moved = work(inputs, cameras)
    print(f"{arguments.count} Gaussians, {arguments.size}x{arguments.size}, {count} pairs, {arguments.threads} threads")
    report: dict[str, object] = {}
    native = [median(row[i] for row in times["native"]) for i in range(2)]
    for name, rows in times.items():
        forward, backward = (median(row[i] for row in rows) for i in range(2))
        difference = float((rows[0][2] - times["native"][0][2]).abs().max())
        ratio = (forward + backward) / sum(native)
        report[name] = {"forward_ms": forward, "backward_ms": backward, "ratio": ratio, "difference": difference}
        print(f"{name:<10}{forward:9.1f} /{backward:9.1f} ms{ratio:8.1f} x the native;  differs by {difference:.1e}")
    rate = f"{flops / native[0] / 1e6:.1f} Gflop/s, {moved / native[0] / 1e6:.2f} GB/s"
    print(f"native forward: {flops / 1e6:.0f} Mflop, {moved / 1e6:.1f} MB: {rate}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"pairs": count, "flops": flops, "bytes": moved, **report}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
