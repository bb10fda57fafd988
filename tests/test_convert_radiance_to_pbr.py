"""Progressive radiance distillation (rep card 3, T1 to T4): the blend, a physical world, and one that is not."""

import pytest
import torch
from torch.autograd import gradcheck

from dreamkit.cameras import orbit
from dreamkit.convert.keep import Keep
from dreamkit.convert.learnt_light import LearntLight
from dreamkit.convert.plan import find_route
from dreamkit.convert.radiance_to_pbr import RadianceToPbr, Recovery, blend, progress_map
from dreamkit.convert.run import convert
from dreamkit.convert.students import student_scene, student_spec
from dreamkit.materials.base import ShadingPoints
from dreamkit.materials.illumination import Illumination, load_environments
from dreamkit.materials.pbr import PBR
from dreamkit.materials.unlit import Unlit
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.representations.gaussian_init import sample_surface
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.vectors import normalize

SHORT = RadianceToPbr(steps=90, size=32)


def truth(points):
    """Features of a painted ball: soft colours, rather rough, hardly metallic."""
    wave = torch.sin(3 * points)
    return torch.cat([wave * 0.8, torch.full_like(wave[:, :1], -1.0), torch.full_like(wave[:, :1], 1.0)], dim=-1)


class Painted(LearntLight):
    """A material whose features are known functions of place, under a light that is known."""

    def shade(self, points, lights):
        known = truth(points.position)
        return super().shade(type(points)(known, *(getattr(points, name) for name in NAMES)), lights)


NAMES = ("position", "direction", "view", "normal")


class Striped(Painted):
    """The same, but a side of it shows stripes that move with the viewer: no surface under one light does that."""

    def shade(self, points, lights):
        stripes = (torch.sin(25 * points.direction[:, :1]) > 0).to(points.direction).expand(-1, 3)
        return torch.where(points.position[:, 1:2] > 0.1, stripes, super().shade(points, lights))


def mesh_world(kind=Painted) -> Scene:
    material = kind(PBR(rows=16), 8)
    # Brighter above than below, and slightly warm.
    height = torch.linspace(1, -1, 8)[:, None, None]
    material.log_light.data += 0.5 * height + torch.tensor([0.05, 0.0, -0.05])
    return Scene(TetMesh(channels=5, resolution=12), material, renderer=MeshRenderer())


def begun(teacher: Scene, converter=SHORT) -> Recovery:
    options = converter.shape_options(teacher)
    shape = student_spec(teacher.shape, type(teacher.shape), options).build(seed=0)
    return converter.begin(teacher, student_scene(teacher, shape, PBR(rows=16)), 0)


def test_t3_1_at_either_end_it_is_one_of_the_two_to_the_bit(generator):
    physical, raw = torch.rand(2, 1, 4, 5, 3, generator=generator)
    assert torch.equal(blend(torch.zeros(1, 4, 5, 1), physical, raw), raw)
    assert torch.equal(blend(torch.ones(1, 4, 5, 1), physical, raw), physical)


def test_t3_2_derivatives_of_the_blend(generator):
    share = torch.rand(1, 3, 2, 1, generator=generator, dtype=torch.float64).requires_grad_()
    physical = torch.rand(1, 3, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    raw = torch.rand(1, 3, 2, 3, generator=generator, dtype=torch.float64)
    assert gradcheck(lambda a, b: blend(a, b, raw), (share, physical), rtol=1e-6)
    weight = torch.rand(1, 3, 2, 3, generator=generator, dtype=torch.float64)
    of_share, of_physical = torch.autograd.grad((blend(share, physical, raw) * weight).sum(), (share, physical))
    torch.testing.assert_close(of_physical, share * weight)
    torch.testing.assert_close(of_share, ((physical - raw) * weight).sum(dim=-1, keepdim=True))


def relit_error(recovery: Recovery, below: float = 9.0) -> float:
    """Under three environments that nobody has seen, against the truth, on the surface (or its part below a height)."""
    shape = recovery.physical.shape
    radiance, filtered = load_environments(("studio", "window", "sunset"), 16)
    points, normal = sample_surface(shape.mesh(), 600, torch.Generator().manual_seed(1))
    toward = normalize(normal + 0.3 * torch.randn(normal.shape, generator=torch.Generator().manual_seed(2)))
    points, normal, toward = (values[points[:, 1] < below] for values in (points, normal, toward))
    scene = torch.zeros(len(points), dtype=torch.long)
    plain, errors = recovery.light.plain, []
    for i in range(3):
        light = Illumination(radiance, filtered, torch.tensor([i]), torch.zeros(1))
        shown = [
            plain.shade(ShadingPoints(features, points, -toward, scene, normal), light)
            for features in (shape.features(points), truth(points))
        ]
        errors.append((shown[0] - shown[1]).square().mean())
    return float(torch.stack(errors).mean().detach())


@pytest.mark.slow
def test_t3_3_a_world_that_is_physical_becomes_so(generator):
    teacher = mesh_world()
    recovery, errors, last = begun(teacher), [], None
    for step in SHORT.distil(teacher, recovery, generator):
        if step.index in (14, 40, 65, 90):
            errors.append(relit_error(recovery))
        last = step
    # Measured: 1.00 reached; squared errors of 0.026, 0.0027, 0.0023 and 0.0018.
    assert last.metrics["reached"] > 0.9
    assert errors == sorted(errors, reverse=True)


ELSEWHERE = 0.06
"Height below which nothing of the stripes is in a pixel; they begin at 0.1."


def distilled_stripes(certain: bool = False) -> tuple[Scene, Recovery]:
    """The striped world and what became of it; with `certain`, progress is 1 from the first step to the last."""
    teacher = mesh_world(Striped)
    recovery = begun(teacher)
    if certain:
        # The sigmoid of whatever the field learns, and 30, is 1 in float32.
        recovery.share.offset = 30.0
    for _ in SHORT.distil(teacher, recovery, torch.Generator().manual_seed(0)):
        pass
    return teacher, recovery


@pytest.fixture(scope="module")
def stripes() -> tuple[Scene, Recovery]:
    return distilled_stripes()


@pytest.mark.slow
def test_t3_4_elsewhere_it_is_relit_better_than_if_all_were_physical(stripes):
    """Without a way out, the one light and the surface below are bent to serve the stripes."""
    _, certain = distilled_stripes(certain=True)
    assert certain.share.at(torch.zeros(1, 3)).item() == 1
    errors = [relit_error(recovery, ELSEWHERE) for recovery in (stripes[1], certain)]
    # Measured: 0.0016 and 0.0027; with two other seeds 0.0010 and 0.0028, 0.0011 and 0.0025.
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.slow
def test_t3_4_what_no_surface_explains_stays_radiance(stripes):
    teacher, recovery = stripes
    cameras = orbit([0.0, 90.0, 200.0], 0.0, 2.5, 40.0, 32, 32)
    with torch.no_grad():
        share, mask = progress_map(
            recovery.progress.render(cameras), teacher.background.color(cameras.rays().directions)
        )
        seen = teacher.render(cameras)
        place = cameras.rays().origins + seen.depth * cameras.rays().directions
        above, below = (place[..., 1:2] > 0.14) & (mask > 0), (place[..., 1:2] < ELSEWHERE) & (mask > 0)
    # Measured: 0.16 and 0.996.
    assert share[above].mean() < share[below].mean() - 0.5


def test_gaussians_become_physical_too(generator):
    cloud = Gaussians(count=400, opacity=0.9)
    cloud.colors.data += torch.randn(400, 1, 3, generator=generator)
    teacher = Scene(cloud, Unlit(), renderer=SplatRenderer())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    steps = convert(teacher, "gaussians", by=RadianceToPbr(steps=40, size=24))
    metrics = []
    while True:
        try:
            metrics.append(next(steps).metrics)
        except StopIteration as stop:
            done = stop.value
            break
    assert isinstance(done.scene.material, PBR)
    assert done.material is not None
    assert done.material.cls is PBR
    assert torch.equal(done.scene.shape.positions, cloud.positions)
    assert done.scene.shape.channels == 5
    # In the first stage progress rests; then it grows.
    assert metrics[0]["reached"] == pytest.approx(0.01, rel=0.01)
    assert metrics[-1]["reached"] > 2 * metrics[0]["reached"]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_it_is_taken_only_where_it_is_asked_for():
    (hop,) = find_route(Gaussians, Gaussians)
    assert hop.converter is Keep
    (hop,) = find_route(Gaussians, Gaussians, RadianceToPbr)
    assert hop.converter is RadianceToPbr
    assert not RadianceToPbr.joins(Gaussians, TetMesh)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="specular <= joint"):
        RadianceToPbr(specular=0.9, joint=0.5)
    teacher = Scene(Gaussians(count=8), Unlit(), renderer=SplatRenderer())
    with pytest.raises(ValueError, match="has Unlit"):
        RadianceToPbr().begin(teacher, Scene(Gaussians(count=8), Unlit(), renderer=SplatRenderer()), 0)
