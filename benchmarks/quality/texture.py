"""New textures for meshes that keep their geometry: `python benchmarks/quality/texture.py [--out outputs/texture]`.

Plain white toys of the small world, whose geometry is the truth, get a texture by prompt with `toybox-texture`. Runs
that are finished already are kept. Exits with an error where a corner, a triangle or a coordinate has changed; writes
a contact sheet and a table to docs/results/.
"""

import argparse
import platform
from dataclasses import replace
from pathlib import Path

import torch
from runs import RESULTS, contact_sheet, head, judge, make, metrics, row

from dreamkit.convert.unwrap import unwrap
from dreamkit.export.gltf import write_glb
from dreamkit.export.import_asset import import_mesh
from dreamkit.export.load import load_mesh
from dreamkit.mesh import Mesh
from dreamkit.toybox.captions import parse
from dreamkit.toybox.world import build

PROMPTS = ("a red mug", "a striped blue mug")
COLUMNS = {
    "kind": "judge_kind", "colour": "judge_color", "saturation": "judge_saturation", "IoU": "judge_volume_iou",
    "Chamfer": "judge_chamfer", "faces": "faces", "steps": "steps",
}  # fmt: skip
HEAD = """# New textures

`python benchmarks/quality/texture.py`: a plain white toy of the small world gets a texture by `toybox-texture`, seed
{seed}. {machine}, CPU. The judge looks at eight views of asset.glb; corners, triangles and texture coordinates of that
file are those of the source, bit for bit, or the command fails. Seconds are of everything.

"""


def white_toy(kind: str, path: Path) -> Path:
    """The kind's exact surface, white, with texture coordinates."""
    mesh = unwrap(build(kind).mesh(), 512)
    write_glb(replace(mesh, texture=torch.ones(8, 8, 3)), path)
    return path


def corners(mesh: Mesh) -> torch.Tensor:
    """Position and coordinates of each triangle's corners."""
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    return torch.cat([mesh.corners, mesh.uv[mesh.uv_faces]], dim=-1)


def textured(prompt: str, out: Path, seed: int) -> Path:
    """The folder of the prompt's run, made where it is not finished; ValueError where the geometry has changed."""
    kind = parse(prompt).kind
    source, folder = out / f"white-{kind}.glb", out / prompt.replace(" ", "-")
    out.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        white_toy(kind, source)
    make(folder, prompt, ["--recipe", "toybox-texture", "--seed", str(seed), "--source", str(source)])
    if not torch.equal(corners(import_mesh(source).mesh), corners(load_mesh(folder / "asset.glb"))):
        raise ValueError(f"{folder}/asset.glb has not the geometry of {source}")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/texture"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    options = parser.parse_args()
    runs = {prompt: textured(prompt, options.out, options.seed) for prompt in options.prompts}
    judge([folder for folder in runs.values() if "judge_kind" not in metrics(folder)])
    contact_sheet(runs, RESULTS / "texture.png")
    lines = head("prompt", list(COLUMNS)) + [row(p, metrics(f), list(COLUMNS.values())) for p, f in runs.items()]
    top = HEAD.format(seed=options.seed, machine=platform.machine())
    text = top + "\n".join(lines) + "\n\n![contact sheet](texture.png)\n"
    (RESULTS / "texture.md").write_text(text, encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
