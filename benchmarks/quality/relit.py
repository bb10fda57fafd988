"""What PBR assets are made of, and how they look when relit: `python benchmarks/quality/relit.py RUN...`.

Reads each run's asset.glb back: mean, 5th and 95th percentile of roughness and metallic over the pixels of eight views,
and a picture with a row for each run, its base colour and the five skies in the box.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dreamkit.cameras import Cameras, orbit
from dreamkit.export.atomic import write_atomically
from dreamkit.export.load import load_mesh
from dreamkit.export.png import encode_png
from dreamkit.materials.illumination import environment_light
from dreamkit.mesh import Mesh
from dreamkit.ops.rasterize import interpolate, rasterize
from dreamkit.ops.texture import sample_texture
from dreamkit.renderers.physical import constant_orm
from dreamkit.renderers.surface import render_surface

SKIES = ("studio", "overcast", "sunset", "window", "night")


def seen_maps(mesh: Mesh, cameras: Cameras) -> Tensor:
    """Occlusion, roughness and metallic of the visible pixels."""
    fragments = rasterize(mesh.vertices, mesh.faces, cameras)
    seen = fragments.triangle >= 0
    if mesh.orm is None or mesh.uv is None or mesh.uv_faces is None:
        return constant_orm(mesh.roughness, mesh.metallic, torch.zeros(int(seen.sum()), 3))
    return sample_texture(mesh.orm, interpolate(mesh.uv, mesh.uv_faces, fragments))[seen]


def row(name: str, maps: Tensor) -> str:
    def spread(values: Tensor) -> str:
        low, high = values.quantile(torch.tensor([0.05, 0.95])).tolist()
        return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"

    return f"| {name} | {spread(maps[:, 1])} | {spread(maps[:, 2])} |"


def pictures(mesh: Mesh, camera: Cameras) -> Tensor:
    """Base colour, then each sky, side by side."""
    lit = replace(mesh, unlit=False)
    views = [render_surface(replace(mesh, unlit=True), camera).color]
    views += [render_surface(lit, camera, light=environment_light(sky)).color for sky in SKIES]
    return torch.cat([view[0] for view in views], dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("outputs/relit.png"))
    parser.add_argument("--size", type=int, default=192)
    options = parser.parse_args()
    camera = orbit([-30.0], 20.0, height=options.size, width=options.size)
    around = orbit([45.0 * i for i in range(8)], 15.0, height=128, width=128)
    meshes = {folder: load_mesh(folder / "asset.glb").fitted() for folder in options.runs}
    print("| run | roughness | metallic |\n|---|---|---|")
    for folder, mesh in meshes.items():
        print(row(folder.name, seen_maps(mesh, around)))
    write_atomically(options.out, encode_png(torch.cat([pictures(mesh, camera) for mesh in meshes.values()])))


if __name__ == "__main__":
    main()
