"""Volume rendering against balls with known pictures."""

import math

import pytest
import torch
from analytic_fields import Ball, ball_opacity, psnr

from dreamkit.cameras import orbit
from dreamkit.materials.backgrounds import RandomSolid, Solid
from dreamkit.materials.lambert import Lambert
from dreamkit.materials.lights import LightSampler
from dreamkit.ops.hash_encode import HashLevels
from dreamkit.ops.march import PackedSamples
from dreamkit.renderers.occupancy import OccupancyGrid
from dreamkit.renderers.packing import keep, resample
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.volume import VolumeRenderer
from dreamkit.representations.hash_field import HashField
from dreamkit.training.regularizers import orientation

VIEWS = orbit([20.0, 200.0], elevation=15.0, height=32, width=32)
# A cube that just holds the ball, for which "n samples over 4 radii" of 1/2 is n steps along the diagonal.
TIGHT = 1 / math.sqrt(3)


def scene(shape=None, **keywords) -> Scene:
    shape = Ball(edge=0.03, sigma=40.0) if shape is None else shape
    return Scene(shape, renderer=VolumeRenderer(**{"samples": 128, **keywords}))


def hash_scene(material=None, **keywords) -> Scene:
    field = HashField(levels=HashLevels(levels=4, log2_table_size=12), hidden=16)
    return Scene(field, material, RandomSolid(), VolumeRenderer(**{"samples": 64, **keywords}))


@pytest.mark.parametrize(("samples", "expected"), [(64, 45.0), (128, 53.0), (512, 64.0)])
def test_rep_t1_1_opacity_of_a_constant_ball(samples, expected):
    cameras = orbit([0.0], height=128, width=128)
    shape = Ball(0.5, 5.0, radius=TIGHT)
    with torch.no_grad():
        image = scene(shape, samples=samples, min_alpha=0.0).render(cameras).alpha
    # Measured: 47.4, 54.5 and 66.0 dB (card: 45.7, 53.7 and 65.5 for samples at fixed distances).
    assert psnr(image, ball_opacity(cameras, 0.5, 5.0)) > expected


def test_color_depth_and_normal_of_an_opaque_ball():
    cameras = orbit([0.0], height=33, width=33)
    with torch.no_grad():
        image = scene(Ball(0.5, 500.0, edge=0.002), samples=1024).render(cameras, normals=True)
    centre = (0, 16, 16)
    assert image.alpha[centre].item() == pytest.approx(1, abs=1e-3)
    # The camera is 2.5 away and the front of the ball 2.0. Measured: off by 1.2e-4.
    assert image.depth[centre].item() == pytest.approx(2.0, abs=1e-3)
    assert torch.allclose(image.normal[centre], torch.tensor([0.0, 0.0, 1.0]), atol=0.02)
    front = torch.tensor([[0.0, 0.0, 0.5]])
    color = torch.sigmoid(Ball().features(front))[0]
    # Measured: 1.6e-4 at most.
    assert torch.allclose(image.color[centre], color, atol=1e-3)


def test_rays_that_meet_nothing_show_the_background_with_depth_zero():
    cameras = orbit([0.0], fov=90.0, height=16, width=16)
    image = Scene(Ball(0.3), background=Solid((0.1, 0.2, 0.3)), renderer=VolumeRenderer(64)).render(cameras)
    assert torch.allclose(image.color[0, 0, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert image.alpha[0, 0, 0] == 0
    assert image.depth[0, 0, 0] == 0


def test_rep_t5_5_weights_and_what_is_left_add_up_to_one(generator):
    """`sum w_i + exp(-sum sigma_i delta_i) = 1` on each ray, with densities asked again at the samples."""
    target = hash_scene(min_alpha=0.0)
    image = target.render(VIEWS, generator=generator)
    samples = image.samples
    origin = VIEWS.rays().origins.reshape(-1, 3)[samples.ray]
    thickness = target.shape.density(origin + samples.distance[:, None] * samples.direction) * samples.length
    nothing = torch.zeros(samples.rays)
    left = torch.exp(-nothing.index_add(0, samples.ray, thickness))
    total = nothing.index_add(0, samples.ray, samples.weight)
    # Worst measured: 3.6e-7 and 0.
    assert torch.allclose(total + left, torch.ones_like(left), atol=2e-6, rtol=0)
    assert torch.allclose(total, image.alpha.flatten(), atol=1e-6, rtol=0)


def test_rep_t5_4_skipping_empty_space_does_not_show(generator):
    """The occupancy grid and `min_alpha`, against a renderer that asks everywhere."""
    target, reference = scene(), scene(min_alpha=0.0)
    for step in range(0, 320, 16):
        target.update(1.0, step, generator)
    assert target.renderer.occupancy.mask.float().mean() < 0.2
    with torch.no_grad():
        # Measured: 45.5 dB.
        assert psnr(target.render(VIEWS).color, reference.render(VIEWS).color) > 40


@pytest.mark.parametrize("normals", [False, True])
def test_chunks_do_not_show(normals):
    with torch.no_grad():
        whole, pieces = (hash_scene(chunk=chunk).render(VIEWS, normals=normals) for chunk in (1 << 20, 700))
    for a, b in zip((whole.color, whole.alpha, whole.depth), (pieces.color, pieces.alpha, pieces.depth), strict=True):
        # Measured: 0; on other machines, matrix products of other shapes may round differently.
        assert torch.allclose(a, b, atol=1e-5)
    if normals:
        assert torch.allclose(whole.normal, pieces.normal, atol=1e-4)


def test_evaluation_is_deterministic_and_training_follows_its_generator():
    target = hash_scene(Lambert())
    assert torch.equal(target.render(VIEWS).color, target.render(VIEWS).color)
    first, second, other = (
        target.render(VIEWS, generator=torch.Generator().manual_seed(seed)).color for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_only_training_keeps_samples(generator):
    target = hash_scene()
    assert target.render(VIEWS).samples is None
    samples = target.render(VIEWS, generator=generator, normals=True).samples
    assert samples.rays == 2 * 32 * 32
    assert (samples.ray.diff() >= 0).all()
    assert samples.normal is not None


def test_gradients_reach_every_parameter(generator):
    target = hash_scene(Lambert(LightSampler(ambient_only_until=0.0, diffuse_probability=1.0)))
    image = target.render(VIEWS, generator=generator)
    (image.color.square().sum() + image.alpha.sum()).backward()
    for name, parameter in target.shape.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_gradient_of_an_image_matches_differences(generator):
    """In float64 and with every sample kept, so that the loss has no jumps."""
    field = HashField(levels=HashLevels(levels=4, log2_table_size=12), hidden=16).double()
    with torch.no_grad():
        # A fresh table is so small that any step would cross kinks of the ReLU.
        field.table.mul_(3e3)
    target = Scene(field, background=Solid(), renderer=VolumeRenderer(32, min_alpha=0.0)).double()
    cameras = orbit([30.0], height=6, width=6)
    cameras = type(cameras)(cameras.pose.double(), cameras.fov.double(), 6, 6)
    weight = torch.randn(1, 6, 6, 3, generator=generator, dtype=torch.float64)

    def loss() -> torch.Tensor:
        image = target.render(cameras)
        return (image.color * weight).sum() + image.depth.sum()

    parameters = list(field.parameters())
    slopes = torch.autograd.grad(loss(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start, h, ends = parameter.detach().clone(), 1e-7, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(start + sign * h * direction)
            ends.append(loss().item())
        with torch.no_grad():
            parameter.copy_(start)
        # Worst measured: 4.1e-6, relative.
        assert (slope * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=4e-5)


def test_rep_t5_3_a_solid_ball_from_outside_has_no_orientation_loss(generator):
    # A sharp border has no slope inside the ball; this one is a tenth of a cell of the picture wide.
    image = scene(Ball(0.5, 2000.0, edge=0.005), samples=512).render(VIEWS, generator=generator, normals=True)
    # Measured: 9.0e-5.
    assert orientation(image) < 1e-3


def test_importance_sampling_needs_fewer_samples_for_the_same_picture():
    target, cameras = Ball(0.5, 40.0, edge=0.03), VIEWS.resized(16, 16)
    with torch.no_grad():
        truth = scene(target, samples=2048, min_alpha=0.0).render(cameras).color
        coarse = scene(target, samples=24).render(cameras).color
        fine = scene(target, samples=24, importance=24).render(cameras).color
    # Measured: 48.6 and 40.9 dB.
    assert psnr(fine, truth) > psnr(coarse, truth) + 3


def test_keep_leaves_samples_out():
    samples = PackedSamples(torch.tensor([0, 0, 2, 2, 2]), torch.arange(5.0), torch.ones(5), torch.tensor([0, 2, 2, 5]))
    kept = keep(samples, torch.tensor([False, True, True, False, True]))
    assert kept.ray.tolist() == [0, 2, 2]
    assert kept.distance.tolist() == [1.0, 2.0, 4.0]
    assert kept.offsets.tolist() == [0, 1, 1, 3]


def test_resampled_intervals_hold_equal_weight():
    """Two samples of weight 1/4 and 3/4: the inverse distribution function by hand."""
    samples = PackedSamples(torch.tensor([1, 1]), torch.tensor([0.5, 1.5]), torch.ones(2), torch.tensor([0, 0, 2, 2]))
    fine = resample(samples, torch.tensor([0.25, 0.75]), 3)
    # Edges at shares 1/8, 3/8, 5/8, 7/8.
    edges = torch.tensor([0.5, 1 + 1 / 6, 1.5, 1 + 5 / 6])
    assert fine.ray.tolist() == [1, 1, 1]
    assert fine.offsets.tolist() == [0, 0, 3, 3]
    assert torch.allclose(fine.distance, (edges[1:] + edges[:-1]) / 2, atol=1e-6)
    assert torch.allclose(fine.length, edges.diff(), atol=1e-6)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="samples >= 1"):
        VolumeRenderer(0)
    with pytest.raises(ValueError, match="did you mean 'forward'"):
        VolumeRenderer(normal_mode="forwards")
    with pytest.raises(TypeError, match="draws fields"):
        VolumeRenderer(occupancy=OccupancyGrid(4)).update(torch.nn.Linear(1, 1), 0.0, 0, torch.Generator())
