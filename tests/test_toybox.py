"""The toy world: geometry, words and pictures."""

from pathlib import Path

import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.toybox.captions import (
    VIEWS,
    Subject,
    held_out,
    parse,
    sample_subject,
    view_word,
    vocabulary,
)
from dreamkit.toybox.dataset import joined, load_pictures, render_pictures, save_pictures
from dreamkit.toybox.fit import FitPlan, averaged_weights, fit
from dreamkit.toybox.paint import COLORS, PATTERNS, lit, patterned
from dreamkit.toybox.world import FRONTED, KINDS, RADIUS, Look, build, picture


def test_the_world_is_as_large_as_promised() -> None:
    assert len(KINDS) >= 30
    assert len(FRONTED) >= 10
    assert len(COLORS) == 12
    assert len(PATTERNS) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_a_centred_solid_in_the_unit_ball(kind: str) -> None:
    toy = build(kind)
    assert float(toy.vertices.norm(dim=1).max()) == pytest.approx(RADIUS, abs=1e-5)
    middle = (toy.vertices.amin(dim=0) + toy.vertices.amax(dim=0)) / 2
    assert middle.abs().max() < 0.2  # Worst measured: 0 for the fitted box; fitting by radius moves nothing.
    assert toy.mesh().volume > 0
    assert "body" in toy.roles


@pytest.mark.parametrize("kind", FRONTED)
def test_front_and_back_look_different(kind: str) -> None:
    """The mirror image of the back view is not the front view: mean difference of pixels on the object."""
    look, gray = Look("blue"), torch.full((2, 3), 0.5)
    color, alpha = picture(build(kind), look, orbit([0.0, 180.0], 10.0), gray)
    front, back = color[0], color[1].flip(1)
    solid = torch.maximum(alpha[0], alpha[1].flip(1)) > 0.5
    # Smallest measured: 0.013 (airplane).
    assert float((front - back).abs()[solid.expand_as(front)].mean()) > 0.008


def test_light_does_not_tell_front_from_back() -> None:
    """A uniform ball, lit from both sides of the world, looks the same from all azimuths."""
    normal = torch.nn.functional.normalize(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = normal * torch.tensor([-1.0, 1.0, -1.0])
    albedo, shiny = torch.full((100, 3), 0.5), torch.zeros(100, 1)
    view = torch.tensor([[0.0, 0.0, 1.0]]).expand(100, 3)
    assert torch.allclose(lit(albedo, normal, view, shiny), lit(albedo, turned, -view, shiny))


@pytest.mark.parametrize("pattern", PATTERNS[:3])
def test_patterns_use_two_colours_in_fair_shares(pattern: str) -> None:
    points = torch.rand(5000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    color = torch.tensor(COLORS["red"])
    share = (patterned(points, color, pattern) == color).all(dim=1).float().mean()
    # Measured: 0.56 striped, 0.79 spotted, 0.50 checkered.
    assert 0.4 < share < 0.9


def test_captions_round_trip() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        subject = sample_subject(generator)
        assert parse(subject.caption("front view")) == subject
        assert set(subject.caption("back view").replace(",", "").split()) <= set(vocabulary())


def test_articles_follow_the_first_letter() -> None:
    assert Subject("apple", Look("orange")).caption() == "an orange apple"
    assert Subject("apple", Look("red", "striped")).caption() == "a striped red apple"


@pytest.mark.parametrize("prompt", ["", "a mug", "a red thing", "a red mug and a blue mug"])
def test_the_judge_needs_one_kind_and_one_colour(prompt: str) -> None:
    with pytest.raises(ValueError, match="a red mug"):
        parse(prompt)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [(0, 0, 0), (44, 0, 0), (46, 0, 1), (-90, 0, 1), (136, 0, 2), (180, 20, 2), (-179, 0, 2), (0, 61, 3)],
)
def test_view_words_follow_the_camera(azimuth: float, elevation: float, word: int) -> None:
    assert view_word(float(azimuth), float(elevation)) == VIEWS[word]


def test_held_out_pairs_cover_many_colours() -> None:
    assert len({held_out(kind) for kind in KINDS}) == 12


def test_pictures_depend_on_the_seed_alone_and_survive_the_disk(tmp_path: Path) -> None:
    one, two, other = (joined(list(render_pictures(6, seed, processes=1))) for seed in (3, 3, 4))
    assert torch.equal(one.images, two.images)
    assert not torch.equal(one.images, other.images)
    save_pictures(one, tmp_path / "p.safetensors")
    again = load_pictures(tmp_path / "p.safetensors")
    assert torch.equal(again.labels, one.labels)
    subject, _ = again.subject(0)
    assert again.labels[0, 4] == float(subject.look.color == held_out(subject.kind))


def test_every_word_is_one_token() -> None:
    from dreamkit.toybox.networks import TOKENS, new_tokenizer

    tokenizer = new_tokenizer()
    assert all(len(tokenizer(word)["input_ids"]) == 3 for word in vocabulary())
    longest = Subject("television", Look("orange", "checkered")).caption("overhead view")
    assert len(tokenizer(longest)["input_ids"]) <= TOKENS


def test_whitening_folds_into_the_autoencoder() -> None:
    """Latents get mean 0 and deviation 1, and the decoder's pictures stay what they were."""
    from dreamkit.toybox.networks import new_autoencoder
    from dreamkit.toybox.train import encode_all, to_network, whiten

    torch.manual_seed(0)
    autoencoder, images = new_autoencoder(), joined(list(render_pictures(8, 5, processes=1))).images
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(to_network(images)).latent_dist.mean).sample
        whiten(autoencoder, images)
        latents = encode_all(autoencoder, images)
        after = autoencoder.decode(latents).sample
    # Measured: 2e-6 for both moments, 4e-6 for pictures in [-1, 1].
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-4
    assert (before - after).abs().max() < 1e-4


def test_a_fit_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    plan = FitPlan(steps=8, batch=4, rate=0.1, warmup=2, save_every=3)
    target = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))

    def model() -> torch.nn.Linear:
        layer = torch.nn.Linear(3, 1)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        return layer

    def run(layer: torch.nn.Linear, path: Path, stop: int) -> None:
        def loss(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            noise = torch.randn(len(batch), 1, generator=generator)
            return (layer(target[batch]) - target[batch].sum(1, keepdim=True) - 0.1 * noise).square().mean()

        for step in fit(layer, loss, 10, plan, path, seed=0):
            if step.index == stop:
                return

    whole, cut, resumed = model(), model(), model()
    run(whole, tmp_path / "a.safetensors", 99)
    run(cut, tmp_path / "b.safetensors", 5)
    run(resumed, tmp_path / "b.safetensors", 99)
    assert torch.equal(whole.weight, resumed.weight)
    assert averaged_weights(tmp_path / "b.safetensors")[1] == 8


def test_a_prior_can_be_trained_on_from_its_folder(tmp_path: Path) -> None:
    """Writing in half precision and reading back changes weights by rounding only."""
    from dreamkit.toybox.networks import new_autoencoder, new_denoiser, read_pipeline, write_pipeline

    torch.manual_seed(0)
    autoencoder, denoiser = new_autoencoder(), new_denoiser()
    kept = {name: value.clone() for name, value in denoiser.modules().state_dict().items()}
    write_pipeline(tmp_path, autoencoder, denoiser)
    again, fresh = new_autoencoder(), new_denoiser()
    read_pipeline(tmp_path, again, fresh)
    for name, value in fresh.modules().state_dict().items():
        # Half precision keeps 11 bits: relative error 5e-4.
        assert torch.allclose(value.float(), kept[name].float(), rtol=1e-3, atol=1e-6), name
