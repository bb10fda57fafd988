"""T3Bench's cameras and its regional convolution; CLIP's numbers with a tiny random model."""

from pathlib import Path

import pytest
import torch
import trimesh
from tiny_models import save_tiny_clip

from dreamkit.evaluate.clip import Clip, clip_score, r_precision
from dreamkit.evaluate.t3bench import FOVS, RADIUS, icosphere, regional_quality, t3bench_cameras, t3bench_views
from dreamkit.mesh import Mesh


def box() -> Mesh:
    solid = trimesh.creation.box((0.4, 0.8, 0.2))
    return Mesh(torch.tensor(solid.vertices + 5, dtype=torch.float32), torch.tensor(solid.faces))


def test_cameras_stand_on_162_points_at_one_radius_and_look_inwards() -> None:
    cameras = t3bench_cameras(45.0, 16)
    assert len(cameras) == 162
    # Measured: 5e-7.
    assert torch.allclose(cameras.distance, torch.full((162,), RADIUS), atol=1e-5)
    middle = cameras.project(torch.zeros(1, 3))
    # The origin is in the middle of every image; measured: 2e-6 pixels off.
    assert torch.allclose(middle[..., :2], torch.full((162, 1, 2), 8.0), atol=1e-4)
    assert torch.allclose(middle[..., 2], torch.full((162, 1), RADIUS), atol=1e-5)


def test_every_view_shows_the_asset_and_narrower_ones_show_it_larger() -> None:
    views = [(focal, float((image.sum(-1) > 0).float().mean())) for _, focal, image in t3bench_views(box(), 8)]
    assert len(views) == 162 * len(FOVS)
    assert all(share > 0 for _, share in views)
    shares = [sum(share for focal, share in views if focal == chosen) for chosen in range(len(FOVS))]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_regional_quality_of_constants_and_of_one_lucky_view() -> None:
    assert regional_quality(torch.full((162, 5), 0.7)) == pytest.approx(0.7, abs=1e-6)
    lucky = torch.zeros(162, 5)
    lucky[3, 2] = 1.0
    once = regional_quality(lucky)
    # After three rounds a single good view is spread over its neighbourhood.
    assert 0 < once < 0.25
    around = lucky.clone()
    around[icosphere().vertex_neighbors[3], 0] = 1.0
    assert regional_quality(around) > 2 * once
    with pytest.raises(ValueError, match="162"):
        regional_quality(torch.zeros(12, 5))


def test_r_precision_and_score_in_closed_form() -> None:
    similarity = torch.tensor([[0.3, 0.1], [0.2, 0.2], [-0.1, 0.4]])
    assert r_precision(similarity, [0, 1, 1]) == pytest.approx(2 / 3)
    assert clip_score(similarity, [0, 1, 0]) == pytest.approx(100 * (0.3 + 0.2 + 0.0) / 3)


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    return save_tiny_clip(tmp_path / "clip")


def test_clip_reads_a_local_folder_and_tells_texts_and_images_apart(tiny_clip: Path) -> None:
    clip = Clip(tiny_clip)
    images = torch.rand(3, 20, 24, 3, generator=torch.Generator().manual_seed(0))
    similarity = clip.similarity(images, ["a red mug", "a blue cat"])
    assert similarity.shape == (3, 2)
    assert (similarity.abs() <= 1 + 1e-6).all()
    assert not torch.allclose(similarity[:, 0], similarity[:, 1])
    assert torch.equal(similarity, clip.similarity(images, ["a red mug", "a blue cat"]))


def test_a_folder_without_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json"):
        Clip(tmp_path)
