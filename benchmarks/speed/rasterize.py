"""The rasteriser and its family against the torch reference, and the image and speed of Mitsuba 3 on the same mesh.

    python -m pip install mitsuba     # only for this comparison
    python benchmarks/speed/rasterize.py --size 512 --cells 48

Processor seconds of one thread, the least of some turns: that of a machine without other work. Mitsuba traces one ray
through the middle of each pixel (scalar_rgb, aov: depth, normal, position); its build of the ray tree is not counted.
Bytes are what an ideal implementation moves, flops are counted from kernels/*.h.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.mesh import Mesh
from dreamkit.ops.antialias import antialias, antialias_reference, opposite_vertices
from dreamkit.ops.marching_tets import grid_points, kuhn_tets, marching_tets
from dreamkit.ops.rasterize import interpolate, interpolate_reference, rasterize, rasterize_reference
from dreamkit.ops.texture import sample_texture, sample_texture_reference


def torus(cells: int) -> Mesh:
    ones = torch.ones(3)
    points = grid_points(cells, -ones, ones)
    ring = torch.stack([points[:, [0, 2]].norm(dim=1) - 0.6, points[:, 1]], dim=1).norm(dim=1) - 0.25
    return Mesh(*marching_tets(points, ring, kuhn_tets(cells, ring < 0)))


def seconds(run: Callable[[], object], turns: int) -> float:
    best = float("inf")
    for _ in range(turns):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def forward_and_backward(run: Callable[[], Tensor], inputs: tuple[Tensor, ...], turns: int) -> tuple[float, float]:
    output = run()
    cotangent = torch.ones_like(output)
    return seconds(run, turns), seconds(
        lambda: torch.autograd.grad(output, inputs, cotangent, retain_graph=True), turns
    )


def report(name: str, native: Callable, reference: Callable, inputs: tuple, gigabytes: float, gigaflops: float) -> None:
    fast, slow = forward_and_backward(native, inputs, 9), forward_and_backward(reference, inputs, 3)
    ratios = " ".join(f"{s * 1e3:8.1f} {f * 1e3:7.2f} {s / f:5.0f}x" for f, s in zip(fast, slow, strict=True))
    print(f"{name:12} {ratios}   {gigabytes / fast[0]:5.2f} GB/s {gigaflops / fast[0]:5.2f} Gflop/s")


def tested(mesh: Mesh, cameras: Cameras) -> float:
    """Pairs of a triangle and a pixel of its box: what the inner loop visits (narrow boxes whole)."""
    corners = cameras.project(mesh.vertices.detach())[:, mesh.faces][..., :2]
    return float((corners.amax(dim=2) - corners.amin(dim=2)).ceil().prod(dim=-1).sum())


def against_reference(mesh: Mesh, cameras: Cameras) -> None:
    generator = torch.Generator().manual_seed(0)
    vertices, faces = mesh.vertices.requires_grad_(), mesh.faces
    pixels, channels = len(cameras) * cameras.height * cameras.width, 3
    colors = torch.rand(len(vertices), channels, generator=generator).requires_grad_()
    texture = torch.rand(512, 512, channels, generator=generator).requires_grad_()
    fragments = rasterize(vertices.detach(), faces, cameras)
    image = interpolate(colors.detach(), faces, fragments).requires_grad_()
    uv = interpolate(vertices.detach()[:, :2] * 0.5 + 0.5, faces, fragments).requires_grad_()
    level = 3 * torch.rand(*uv.shape[:-1], 1, generator=generator)
    opposite = opposite_vertices(faces)
    print(f"{'op':12} {'forward: torch, native ms':>23} {'backward':>23}   forward rates")
    pairs = tested(mesh, cameras)
    raster = [lambda run=run: run(vertices, faces, cameras).depth for run in (rasterize, rasterize_reference)]
    report("rasterize", *raster, (vertices,), (pixels * 24 + len(faces) * 60) / 1e9, (pairs * 34 + pixels * 40) / 1e9)
    blend = [lambda run=run: run(colors, faces, fragments) for run in (interpolate, interpolate_reference)]
    report("interpolate", *blend, (colors,), pixels * (20 + 16 * channels) / 1e9, pixels * 6 * channels / 1e9)
    outline = [
        lambda: antialias(image, fragments, vertices, faces, cameras, opposite=opposite),
        lambda: antialias_reference(image, fragments, vertices, faces, cameras),
    ]
    report("antialias", *outline, (image, vertices), pixels * (28 + 8 * channels) / 1e9, pixels * 120 / 1e9)
    look = [lambda run=run: run(texture, uv, level) for run in (sample_texture, sample_texture_reference)]
    report("texture", *look, (texture, uv), pixels * (12 + 36 * channels) / 1e9, pixels * (50 + 16 * channels) / 1e9)


def mitsuba_images(mesh: Mesh, cameras: Cameras) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """How Mitsuba renders the first camera, and how its mask, depth and position arrive as a tensor."""
    import mitsuba
    import trimesh

    mitsuba.set_variant("scalar_rgb")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.ply"
        vertices, faces, normals = (t.detach().numpy() for t in (mesh.vertices, mesh.faces, mesh.vertex_normals))
        made = trimesh.Trimesh(vertices, faces, vertex_normals=normals, process=False)
        made.export(path, vertex_normal=True)
        # Mitsuba's cameras look along +Z with +X to the left.
        pose = cameras.pose[0] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
        scene = mitsuba.load_dict(
            {
                "type": "scene",
                "integrator": {"type": "aov", "aovs": "d:depth,n:sh_normal,p:position"},
                "sensor": {
                    "type": "perspective",
                    "fov": float(cameras.fov[0]),
                    "fov_axis": "y",
                    "near_clip": 1e-4,  # its distances count from there
                    "to_world": mitsuba.ScalarTransform4f(pose.double().numpy()),
                    "film": {
                        "type": "hdrfilm",
                        "width": cameras.width,
                        "height": cameras.height,
                        "rfilter": {"type": "box"},
                        "pixel_format": "rgb",
                    },
                    "sampler": {"type": "stratified", "sample_count": 1, "jitter": False},
                },
                "mesh": {"type": "ply", "filename": str(path)},
            }
        )
    return lambda: mitsuba.render(scene, spp=1), lambda: torch.from_numpy(np.array(mitsuba.render(scene, spp=1)))


def against_mitsuba(mesh: Mesh, cameras: Cameras) -> None:
    cameras = cameras[[0]]
    render, image = mitsuba_images(mesh, cameras)
    theirs = image()[..., -7:].float()
    fragments = rasterize(mesh.vertices.detach(), mesh.faces, cameras)
    position = interpolate(mesh.vertices.detach(), mesh.faces, fragments)[0]
    normal = interpolate(mesh.vertex_normals.detach(), mesh.faces, fragments)[0]
    ours = (position - cameras.position[0]).norm(dim=-1) * fragments.mask[0, ..., 0]
    mask, other = fragments.mask[0, ..., 0] > 0, theirs[..., 0] > 0
    both = mask & other
    normal = torch.nn.functional.normalize(normal, dim=-1)
    print(f"pixels that one sees and the other does not: {int((mask != other).sum())} of {mask.numel()}")
    for name, error in (
        ("distance", (ours - theirs[..., 0])[both]),
        ("normal", (normal - theirs[..., 1:4])[both]),
        ("position", (position - theirs[..., 4:7])[both]),
    ):
        size = error.abs().reshape(len(error), -1).amax(dim=-1)
        far = int((size > 1e-2).sum())
        print(
            f"{name}: mean difference {size.mean():.1e}, largest {size.max():.1e}, above 1e-2 in {far} of {len(size)}"
        )
    fast = seconds(lambda: rasterize(mesh.vertices.detach(), mesh.faces, cameras), 9)
    slow = seconds(render, 3)
    print(f"one view: ours {fast * 1e3:.2f} ms, Mitsuba {slow * 1e3:.1f} ms of processor time, {slow / fast:.0f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--cells", type=int, default=48, help="of the grid that the torus is cut from")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--mitsuba", action="store_true", help="compare with Mitsuba 3, which must be installed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mesh = torus(arguments.cells)
    azimuth = [360.0 / arguments.views * i + 20 for i in range(arguments.views)]
    cameras = orbit(azimuth, 30.0, 2.5, height=arguments.size, width=arguments.size)
    print(f"{len(mesh.faces)} triangles, {arguments.views} views of {arguments.size} x {arguments.size}, one thread")
    against_reference(mesh, cameras)
    if arguments.mitsuba:
        against_mitsuba(mesh, cameras)


if __name__ == "__main__":
    main()
