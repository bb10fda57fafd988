"""Our surfaces beside Mitsuba 3's, under the same light: `python benchmarks/quality/pbr.py [--size 96] [--spp 1024]`.

Needs `pip install mitsuba`, which is no dependency. A ball and a ring stand in each environment; Mitsuba traces them
with its `direct` integrator (shadows, no second bounce), we with the Monte-Carlo estimator (shadows by sphere tracing)
and with the split-sum (no shadows). Writes one row a picture, RMSE of display colour over the pixels inside the
object, to docs/results/pbr-mitsuba.md, and the pictures to docs/results/pbr-mitsuba.png.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mitsuba
import numpy as np
import torch
import trimesh
from PIL import Image

from dreamkit.cameras import Cameras, orbit
from dreamkit.materials.environment import look_up
from dreamkit.materials.ggx import Reflectance
from dreamkit.materials.illumination import load_environments
from dreamkit.materials.monte_carlo import Samples, reflect_radiance
from dreamkit.materials.split_sum import reflect_maps
from dreamkit.vectors import encode_srgb, normalize

RESULTS = Path(__file__).parents[2] / "docs" / "results"
BALL, RING, TUBE = 0.8, 0.55, 0.25
NORMAL_STEP = 1e-3
REACH, STEPS, LIFT = 4.0, 40, 0.01


@dataclass(frozen=True)
class Substance:
    """One surface, in our terms and in Mitsuba's."""

    name: str
    color: tuple[float, float, float]
    metallic: float
    roughness: float
    bsdf: dict


def principled(color: tuple[float, float, float], metallic: float, roughness: float) -> dict:
    base = {"type": "rgb", "value": list(color)}
    return {"type": "principled", "base_color": base, "metallic": metallic, "roughness": roughness, "specular": 0.5}


def mirror(roughness: float) -> dict:
    return {"type": "roughconductor", "material": "none", "distribution": "ggx", "alpha": roughness**2}


GOLD, RED, WHITE = (0.9, 0.65, 0.25), (0.7, 0.12, 0.08), (1.0, 1.0, 1.0)
SUBSTANCES = (
    Substance("white metal 0.2, roughconductor", WHITE, 1.0, 0.2, mirror(0.2)),
    Substance("white metal 0.5, roughconductor", WHITE, 1.0, 0.5, mirror(0.5)),
    Substance("gold 0.3, principled", GOLD, 1.0, 0.3, principled(GOLD, 1.0, 0.3)),
    Substance("gold 0.6, principled", GOLD, 1.0, 0.6, principled(GOLD, 1.0, 0.6)),
    Substance("red plastic 0.3, principled", RED, 0.0, 0.3, principled(RED, 0.0, 0.3)),
    Substance("red plastic 0.6, principled", RED, 0.0, 0.6, principled(RED, 0.0, 0.6)),
)

Distance = Callable[[torch.Tensor], torch.Tensor]


def ball(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=-1) - BALL


def ring(points: torch.Tensor) -> torch.Tensor:
    around = torch.hypot(points[..., 0], points[..., 2]) - RING
    return torch.hypot(around, points[..., 1]) - TUBE


def trace(origin: torch.Tensor, direction: torch.Tensor, distance: Distance, start: float) -> torch.Tensor:
    """How far each ray goes; REACH where it meets nothing."""
    far = torch.full_like(origin[..., 0], start)
    for _ in range(STEPS):
        far = (far + distance(origin + far[..., None] * direction)).clamp_max(REACH)
    return torch.where(distance(origin + far[..., None] * direction) < 1e-3, far, REACH)


def surface_points(camera: Cameras, distance: Distance) -> tuple[torch.Tensor, ...]:
    """Points, normals and directions to the viewer of the pixels that hit, and which those are."""
    rays = camera.rays()
    far = trace(rays.origins[0], rays.directions[0], distance, 1.0)
    hit = far < REACH
    points = (rays.origins[0] + far[..., None] * rays.directions[0])[hit]
    shift = NORMAL_STEP * torch.eye(3)
    slope = [distance(points + shift[i]) - distance(points - shift[i]) for i in range(3)]
    return points, normalize(torch.stack(slope, dim=-1)), -rays.directions[0][hit], hit


def ours(substance: Substance, camera: Cameras, distance: Distance, sky: str, sampled: bool) -> torch.Tensor:
    """Linear radiance image, black outside."""
    points, normal, towards, hit = surface_points(camera, distance)
    radiance, filtered = load_environments((sky,), 64)
    image = torch.zeros(*hit.shape, 3)
    parts = [part.split(1024) for part in (points, normal, towards)]
    shown = []
    for index, (place, n, v) in enumerate(zip(*parts, strict=True)):
        one = torch.ones(len(n), 1)
        matter = Reflectance(torch.tensor([substance.color]).expand(len(n), 3), substance.metallic * one,
                             substance.roughness * one)  # fmt: skip
        which = torch.zeros(len(n), dtype=torch.long)
        if not sampled:
            shown.append(reflect_maps(matter, n, v, filtered, which))
            continue

        def light(directions: torch.Tensor, place: torch.Tensor = place, n: torch.Tensor = n) -> torch.Tensor:
            found = look_up(radiance, torch.zeros(directions.shape[:-1], dtype=torch.long), directions)
            if distance is ball:
                return found
            lifted = (place + LIFT * n)[:, None].expand_as(directions)
            return found * (trace(lifted, directions, distance, 0.0) >= REACH)[..., None]

        shift = torch.rand(len(n), 2, generator=torch.Generator().manual_seed(index))
        shown.append(reflect_radiance(matter, n, v, light, Samples(96, 160), shift))
    image[hit] = torch.cat(shown)
    return image


def theirs(substance: Substance, camera: Cameras, distance: Distance, sky: str, spp: int, folder: Path) -> torch.Tensor:
    """Mitsuba's linear radiance image, light itself not shown."""
    radiance, _ = load_environments((sky,), 64)
    # Mitsuba's maps begin at -Z where ours do at -X: a quarter of a turn.
    light = torch.roll(radiance[0], -radiance.shape[2] // 4, dims=1).numpy()
    # Its local camera looks along +Z with +X to the left.
    pose = camera.pose[0].numpy() @ np.diag([-1.0, 1.0, -1.0, 1.0])
    shape: dict = {"type": "sphere", "radius": BALL}
    if distance is ring:
        # trimesh's tori lie around z; ours around y.
        solid = trimesh.creation.torus(RING, TUBE, major_sections=256, minor_sections=128)
        solid.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))
        solid.export(folder / "ring.ply", vertex_normal=True)
        shape = {"type": "ply", "filename": str(folder / "ring.ply")}
    scene = mitsuba.load_dict({
        "type": "scene",
        "integrator": {"type": "direct", "hide_emitters": True},
        "sensor": {
            "type": "perspective", "fov": float(camera.fov[0]), "fov_axis": "y",
            "to_world": mitsuba.ScalarTransform4f(pose),
            "film": {"type": "hdrfilm", "width": camera.width, "height": camera.height, "pixel_format": "rgb",
                     "rfilter": {"type": "box"}},
            "sampler": {"type": "multijitter", "sample_count": spp},
        },
        "light": {"type": "envmap", "bitmap": mitsuba.Bitmap(np.ascontiguousarray(light))},
        "object": {**shape, "bsdf": substance.bsdf},
    })  # fmt: skip
    return torch.from_numpy(np.array(mitsuba.render(scene, spp=spp)))[..., :3].float()


def inside(camera: Cameras, distance: Distance) -> torch.Tensor:
    """Pixels whose neighbours hit too: the silhouette is a question of filters, not of light."""
    hit = surface_points(camera, distance)[3].float()[None, None]
    return torch.nn.functional.avg_pool2d(hit, 3, 1, 1)[0, 0] > 0.999


def display(image: torch.Tensor) -> torch.Tensor:
    return encode_srgb(image.clamp(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--spp", type=int, default=1024)
    parser.add_argument("--skies", nargs="+", default=["studio", "sunset"])
    chosen = parser.parse_args()
    mitsuba.set_variant("scalar_rgb")
    camera = orbit([25.0], 30.0, height=chosen.size, width=chosen.size)
    rows, sheet = [], []
    for sky in chosen.skies:
        for name, distance in (("ball", ball), ("ring", ring)):
            kept = inside(camera, distance)
            strips = []
            for substance in SUBSTANCES:
                with tempfile.TemporaryDirectory() as folder:
                    wanted = display(theirs(substance, camera, distance, sky, chosen.spp, Path(folder)))
                found = [display(ours(substance, camera, distance, sky, sampled)) for sampled in (True, False)]
                errors = [float((image - wanted)[kept].square().mean().sqrt()) for image in found]
                rows.append(f"| {name} | {sky} | {substance.name} | {errors[0]:.4f} | {errors[1]:.4f} |")
                print(rows[-1], flush=True)
                strips.append(torch.cat([wanted, *found], dim=0))
            sheet.append(torch.cat(strips, dim=1))
    header = ["| shape | light | surface | Monte-Carlo | split-sum |", "|---|---|---|---|---|"]
    (RESULTS / "pbr-mitsuba.md").write_text("\n".join([*header, *rows]) + "\n")
    Image.fromarray((torch.cat(sheet) * 255).round().byte().numpy()).save(RESULTS / "pbr-mitsuba.png")


if __name__ == "__main__":
    main()
