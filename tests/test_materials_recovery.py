"""Known materials come back from pictures under known light, and then look right under light never seen (rep T4.3)."""

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.materials.base import ShadingPoints
from dreamkit.materials.illumination import Illumination, load_environments
from dreamkit.materials.pbr import PBR
from dreamkit.ops.hash_encode import HashLevels
from dreamkit.representations.hash_field import HashField
from dreamkit.vectors import dot, normalize

TRAINING, HELD_OUT = ("studio", "window", "night"), "sunset"
CHECKPOINTS = (0, 20, 60, 180, 500)


def sphere(count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    normal = normalize(torch.randn(count, 3, generator=draw))
    return 0.8 * normal, normal


def torus(count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    around, tube = 2 * torch.pi * torch.rand(2, count, 1, generator=draw)
    axis = torch.cat([around.sin(), torch.zeros_like(around), around.cos()], dim=-1)
    normal = tube.cos() * axis + tube.sin() * torch.tensor([0.0, 1.0, 0.0])
    return 0.55 * axis + 0.25 * normal, normal


def truth(points: torch.Tensor) -> torch.Tensor:
    """Features of a painted thing: soft colours, a metal patch, roughness from 0.2 to 0.8."""
    wave = torch.sin(3 * points)
    metal = torch.where(points[:, :1] + points[:, 1:2] > 0.2, 5.0, -2.0)
    return torch.cat([wave.roll(1, -1) * 1.2, metal, 1.5 * wave[:, 2:]], dim=-1)


def seen(points: torch.Tensor, normal: torch.Tensor, features: torch.Tensor, toward: torch.Tensor) -> ShadingPoints:
    return ShadingPoints(features, points, -toward, torch.zeros(len(points), dtype=torch.long), normal)


def viewers(normal: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """A camera for each point that sees it well."""
    toward = normalize(normal + 0.6 * normalize(torch.randn(normal.shape, generator=draw)))
    assert dot(toward, normal).min() > 0
    return toward


@pytest.mark.slow
@pytest.mark.parametrize("shape", [sphere, torus])
def test_t4_3_known_materials_are_recovered(shape):
    """Albedo at least 30 dB, roughness and metallic within 0.05 (mean), and relighting errors that only fall."""
    draw = torch.Generator().manual_seed(0)
    material = PBR(TRAINING, metallic=(0.0, 1.0), roughness=(0.2, 0.8), rows=32)
    field = HashField(channels=5, levels=HashLevels(levels=5, log2_table_size=13, base=8, growth=1.4), hidden=32)
    optimizer = torch.optim.Adam(
        [{"params": [field.table], "lr": 0.03}, {"params": list(field.feature_head.parameters()), "lr": 0.01}]
    )
    unseen = load_environments((HELD_OUT,), 32)
    unlike = Illumination(*unseen, torch.zeros(1, dtype=torch.long), torch.zeros(1))
    probe, probe_normal = shape(4096, draw)
    toward = viewers(probe_normal, draw)
    wanted = material.shade(seen(probe, probe_normal, truth(probe), toward), unlike)
    errors = []
    for step in range(CHECKPOINTS[-1] + 1):
        if step in CHECKPOINTS:
            with torch.no_grad():
                shown = material.shade(seen(probe, probe_normal, field.features(probe), toward), unlike)
            errors.append(float((shown - wanted).square().mean()))
        points, normal = shape(1536, draw)
        towards = viewers(normal, draw)
        lights = material.draw_lights(orbit([0.0]), 0.0, draw)
        shots = [seen(points, normal, features, towards) for features in (field.features(points), truth(points))]
        shown, target = (material.shade(shot, lights) for shot in shots)
        optimizer.zero_grad()
        (shown - target).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        found, known = (material.reflectance(features) for features in (field.features(probe), truth(probe)))
        bases = [material.base_color(features) for features in (field.features(probe), truth(probe))]
    psnr = -10 * torch.log10((bases[0] - bases[1]).square().mean())
    rough, metal = ((getattr(found, name) - getattr(known, name)).abs().mean() for name in ("roughness", "metallic"))
    print("T3", shape.__name__, float(psnr), float(rough), float(metal), errors)
    assert errors == sorted(errors, reverse=True)
    assert psnr > 30
    assert rough < 0.05
    assert metal < 0.05
