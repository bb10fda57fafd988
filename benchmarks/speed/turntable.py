"""Processor seconds of a turntable with the native rasteriser, and with the torch reference in its place.

python benchmarks/speed/turntable.py outputs/RUN/asset.glb
"""

import argparse
import os
import time
from pathlib import Path

import torch

from dreamkit.export.load import load_mesh
from dreamkit.export.video import turntable_cameras
from dreamkit.renderers.surface import render_surface


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--frames", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mesh = load_mesh(arguments.mesh)
    cameras, images = turntable_cameras(arguments.frames), {}
    for backend in ("native", "reference"):
        os.environ["DREAMKIT_BACKEND"] = backend
        render_surface(mesh, cameras[[0]])
        start = time.process_time()
        images[backend] = render_surface(mesh, cameras).color
        print(
            f"{backend}: {time.process_time() - start:.2f} s for {arguments.frames} frames of {cameras.height} pixels"
        )
    levels = (images["native"] * 255).round() - (images["reference"] * 255).round()
    print(f"{len(mesh.faces)} triangles; bytes that differ: {int((levels != 0).sum())}, by {int(levels.abs().max())}")


if __name__ == "__main__":
    main()
