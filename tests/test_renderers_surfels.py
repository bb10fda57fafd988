"""Surfels (rep 6.8): depth and normals of a sphere of disks, and 2DGS's two losses."""

import pytest
import torch
import trimesh

from dreamkit.cameras import orbit
from dreamkit.mesh import Mesh
from dreamkit.renderers.scene import Scene
from dreamkit.renderers.splats import SplatRenderer
from dreamkit.renderers.surfels import SurfelRenderer, depth_normals
from dreamkit.representations.gaussian_init import mesh_cloud
from dreamkit.representations.gaussians import Gaussians
from dreamkit.training.regularizers import surfel_distortion, surfel_normals
from dreamkit.vectors import dot, normalize


def sphere(count=3000, radius=0.6, noise=0.0, front=False) -> Scene:
    """Disks on a ball; the front alone where what shines through from the back would disturb."""
    ball = trimesh.creation.icosphere(4, radius=radius)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    generator = torch.Generator().manual_seed(0)
    cloud = mesh_cloud(mesh, torch.zeros(count, 3), generator)
    shape = Gaussians(count=2, flat=True)
    shape.replace_cloud(cloud[(cloud.positions[:, 2] > 0).nonzero().squeeze(1)] if front else cloud)
    shape.positions.data += noise * torch.randn(shape.positions.shape, generator=generator)
    return Scene(shape, renderer=SurfelRenderer())


def truth(cameras, radius=0.6):
    """Distance and normal of the ball, and which pixels see it well inside the rim."""
    rays = cameras.rays()
    along = dot(rays.origins, rays.directions)
    root = along.square() - (dot(rays.origins, rays.origins) - radius**2)
    distance = -along - root.clamp_min(0).sqrt()
    points = rays.origins + distance * rays.directions
    return distance, points / radius, root > 0.15 * radius**2


def test_depth_and_normals_are_those_of_the_ball():
    cameras = orbit([0.0], 0.0, 2.5, 40.0, 48, 48)
    distance, normal, inner = truth(cameras)
    errors = {}
    for name, renderer in (("surfels", SurfelRenderer()), ("ellipsoids", SplatRenderer())):
        scene = sphere(front=True)
        with torch.no_grad():
            image = Scene(scene.shape, renderer=renderer).render(cameras, normals=True)
        errors[name] = float((image.depth - distance).abs()[inner].mean())
        assert image.normal is not None
        cosine = dot(normalize(image.normal), normal)[inner]
        assert cosine.mean() > 0.98
    # Measured: 0.0059 against 0.0100; ellipsoids have the depth of their centres.
    assert errors["surfels"] < 0.008
    assert errors["surfels"] < 0.7 * errors["ellipsoids"]


def test_normals_of_an_exact_depth_map_are_exact():
    cameras = orbit([30.0], 10.0, 2.5, 40.0, 64, 64)
    distance, normal, inner = truth(cameras)
    found = depth_normals(distance, inner.float(), cameras.rays())
    drawn = found.square().sum(dim=-1) > 0
    assert drawn.sum() > 800
    assert not found[:, 0].any()
    # Worst measured 0.9997: differences over two pixels.
    assert dot(found, normal)[drawn].min() > 0.999


def test_losses_vanish_on_a_surface_and_see_scattered_disks(generator):
    cameras = orbit([0.0], 0.0, 2.5, 40.0, 48, 48)
    images = [sphere(noise=noise, front=True).render(cameras, generator=generator) for noise in (0.0, 0.05)]
    flat, rough = ([float(loss(image).detach()) for loss in (surfel_distortion, surfel_normals)] for image in images)
    # Measured: 9.1e-6 and 9.7e-5, 0.0033 and 0.109.
    assert 5 * flat[0] < rough[0]
    assert 10 * flat[1] < rough[1]


def test_the_losses_move_the_disks_back(generator):
    scene = sphere(count=800, noise=0.03)
    cameras = orbit([0.0, 90.0, 180.0, 270.0], 0.0, 2.5, 40.0, 32, 32)
    optimizer = torch.optim.Adam(scene.shape.parameters(), lr=2e-3)
    before = None
    for _ in range(12):
        image = scene.render(cameras, generator=generator)
        loss = 50 * surfel_distortion(image) + surfel_normals(image)
        before = float(loss.detach()) if before is None else before
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.isfinite()
    # Measured: from 0.153 to 0.050.
    assert float(loss.detach()) < 0.6 * before


def test_round_gaussians_and_other_renderings_are_refused(generator):
    cameras = orbit([0.0], height=8, width=8)
    with pytest.raises(TypeError, match="round Gaussians"):
        Scene(Gaussians(count=4), renderer=SurfelRenderer()).render(cameras)
    image = Scene(Gaussians(count=4), renderer=SplatRenderer()).render(cameras, generator=generator)
    for loss in (surfel_distortion, surfel_normals):
        with pytest.raises(ValueError, match="property of surfels"):
            loss(image)
