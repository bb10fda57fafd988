"""Where a mesh's share of a training step goes: `python benchmarks/speed/mesh.py [--resolution 48] [--size 64]`.

A ball on a DMTet grid, two views, one thread; medians of processor milliseconds, so that a busy machine does no harm.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from dreamkit.cameras import orbit
from dreamkit.mesh import find_edges
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.ops.marching_tets import cut_tets, kuhn_tets
from dreamkit.ops.rasterize import rasterize
from dreamkit.ops.silhouette import blend_silhouettes
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.mesh_energies import laplacian, normal_consistency
from dreamkit.representations.tet_mesh import TetMesh


def report(name: str, function: Callable[[], object], rounds: int = 9) -> None:
    function()
    spent = []
    for _ in range(rounds):
        begin = time.process_time()
        function()
        spent.append(1e3 * (time.process_time() - begin))
    print(f"| {name} | {median(spent):.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    levels = HashLevels(levels=10, log2_table_size=15, growth=1.3)
    shape = TetMesh(resolution=options.resolution, size=(0.6, 0.6, 0.6), levels=levels)
    scene, generator = Scene(shape, renderer=MeshRenderer()), torch.Generator().manual_seed(0)
    cameras = orbit([10.0, 130.0], 20.0, 2.3, 40.0, options.size, options.size)
    mesh, inside = shape.mesh(), shape.signed_distance().detach() < 0
    tets, edges = kuhn_tets(options.resolution, inside), find_edges(mesh.faces)
    fragments = rasterize(mesh.vertices, mesh.faces, cameras, cull=True)
    image = torch.rand(2, options.size, options.size, 7, generator=generator)
    print(f"| {len(mesh.faces)} faces | processor ms |\n|---|---|")
    report("tetrahedra that are cut", lambda: kuhn_tets(options.resolution, inside))
    report("their triangles", lambda: cut_tets(inside, tets))
    report("surface, with its vertices", shape.surface)
    report("edges", lambda: find_edges(mesh.faces))
    report("rasterise", lambda: rasterize(mesh.vertices, mesh.faces, cameras, cull=True))
    report("silhouettes", lambda: blend_silhouettes(image, fragments, mesh.vertices, mesh.faces, cameras, edges))
    report("normal consistency and Laplacian", lambda: (normal_consistency(mesh), laplacian(mesh)))
    report("a render", lambda: scene.render(cameras, generator=generator))
    report("a render and its gradient", lambda: scene.render(cameras, generator=generator).color.sum().backward())


if __name__ == "__main__":
    main()
