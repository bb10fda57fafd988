"""Negative-away attention (NASA of SNOOPI): method card 12.7, T12.14."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sds_step import sds_gradient
from tiny_flows import save_tiny_if, save_tiny_sd3
from tiny_models import save_tiny_model

from dreamkit.cameras import Cameras, orbit
from dreamkit.construct import read_spec
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.flow import Flow
from dreamkit.priors.guide import GuidedViews, TextGuide
from dreamkit.priors.latent_diffusion import LatentDiffusion
from dreamkit.priors.negative_away import NegativeAway
from dreamkit.priors.pixel import Pixel
from dreamkit.priors.prompts import PromptTable, ViewWording, embed_prompts
from dreamkit.priors.random_scale import RandomScale
from dreamkit.priors.shaping import CFG, AbstractShaping, Rescaled
from dreamkit.priors.steered_attention import SteeredAttention
from dreamkit.priors.student import camera_numbers

T = torch.tensor([200, 800])
CAMERAS = orbit([0.0, 120.0])


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def prior(folder: Path) -> LatentDiffusion:
    return LatentDiffusion(str(folder), cache_embeddings=False)


def table(prior: LatentDiffusion, negative: str = "ugly") -> PromptTable:
    return embed_prompts(prior, [ViewWording().prompts("a red mug", negative)])


def guided(prior: LatentDiffusion, shaping: AbstractShaping, cameras: Cameras = CAMERAS) -> GuidedViews:
    return TextGuide(table(prior), 7.5, shaping).at(cameras, source=torch.Generator().manual_seed(0))


def noised(prior: LatentDiffusion) -> torch.Tensor:
    return torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0))


def attention(prior: LatentDiffusion):
    """The first cross-attention of the UNet, and text states for it."""
    found: Any = next(m for m in prior.unet.modules() if getattr(m, "is_cross_attention", False))
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, 5, found.to_q.in_features, generator=generator)
    positive, negative = torch.randn(2, 2, 7, found.to_k.in_features, generator=generator)
    return found, hidden, positive, negative


def test_t12_14_the_attention_is_the_difference_of_two(prior: LatentDiffusion) -> None:
    """`Z = Z+ - alpha Z-` before the projection, by hand: softmax over each head's keys."""
    attn, hidden, positive, negative = attention(prior)

    def z(text: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part.unflatten(-1, (attn.heads, -1)) for part in (attn.to_q(hidden), attn.to_k(text), attn.to_v(text))
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(dim=-1), v).flatten(2)

    away = torch.tensor([0.1, 0.5])
    expected = attn.to_out[0](z(positive) - away.view(-1, 1, 1) * z(negative))
    steered = SteeredAttention(attn.processor)(attn, hidden, positive, against=negative, away=away)
    # Float32: worst 1.2e-7.
    torch.testing.assert_close(steered, expected, atol=2e-6, rtol=0)


def test_t12_14_steering_from_the_prompt_itself_scales_z(prior: LatentDiffusion) -> None:
    """T12.14: y- = y scales Z by `1 - alpha`; the bias of the projection stays."""
    attn, hidden, positive, _ = attention(prior)
    bias, away = attn.to_out[0].bias, torch.full((2,), 0.3)
    plain = attn(hidden, positive) - bias
    steered = SteeredAttention(attn.processor)(attn, hidden, positive, against=positive, away=away) - bias
    # Float32: worst 1.5e-8.
    torch.testing.assert_close(steered, 0.7 * plain, atol=1e-6, rtol=0)


def test_t12_14_strength_zero_is_the_identity(prior: LatentDiffusion) -> None:
    """T12.14: alpha = 0 bit for bit, both where nothing is installed and where attention is steered by 0."""
    x = noised(prior)
    plain = guided(prior, CFG()).predict(prior, x, T)
    assert torch.equal(guided(prior, NegativeAway(strength=0.0)).predict(prior, x, T), plain)
    assert not any(isinstance(p, SteeredAttention) for p in prior.unet.attn_processors.values())
    condition = prior.embed(["a red mug", "a blue mug"])
    before = prior.predict_noise(x, T, condition)
    by_zero = condition.steered(prior.embed(["ugly"] * 2).tokens, 0.0)
    assert torch.equal(prior.predict_noise(x, T, by_zero), before)
    # Installed by now, and still off without a condition that asks for it.
    assert all(isinstance(p, SteeredAttention) for p in prior.unet.attn_processors.values())
    assert torch.equal(prior.predict_noise(x, T, condition), before)


def test_only_the_positive_prompt_is_steered(prior: LatentDiffusion) -> None:
    """CFG then starts from the empty prompt; a steered row in a batch with others is what it is alone."""
    x, views = noised(prior), guided(prior, NegativeAway(strength=0.3))
    steered = views.positive
    assert torch.equal(views.negative.tokens, prior.embed([""] * 2).tokens)
    assert steered.against is not None
    assert torch.equal(steered.against, prior.embed(["ugly"] * 2).tokens)
    assert (views.plain.against, views.null.against) == (None, None)
    text, null = (prior.predict_noise(x, T, condition) for condition in (steered, views.null))
    # Float32, in batches of another size, scaled by 7.5: worst 7.0e-6 of 1.2.
    torch.testing.assert_close(views.predict(prior, x, T), null + 7.5 * (text - null), atol=5e-5, rtol=0)
    unsteered = prior.predict_noise(x, T, guided(prior, CFG()).positive)
    # Measured 0.045 (SD) and 0.039 (SDXL).
    assert (text - unsteered).abs().max() > 5e-3


def test_other_views_are_what_a_view_is_steered_from(prior: LatentDiffusion) -> None:
    views = guided(prior, NegativeAway(against="other_views"), orbit([0.0, 90.0, 180.0]))
    expected = prior.embed(["a red mug, back view", "a red mug, front view", "a red mug, front view"]).tokens
    assert views.positive.against is not None
    assert torch.equal(views.positive.against, expected)
    assert torch.equal(views.negative.tokens, prior.embed(["ugly"] * 3).tokens)


def test_sliced_attention_gives_the_same(folder: Path) -> None:
    """The processor that slices stays in place, inside."""
    answers = []
    for slicing in (False, True):
        prior = LatentDiffusion(str(folder), cache_embeddings=False, attention_slicing=slicing)
        answers.append(guided(prior, NegativeAway(strength=0.3)).predict(prior, noised(prior), T))
        inner = {type(p.inner).__name__ for p in prior.unet.attn_processors.values() if isinstance(p, SteeredAttention)}
        assert ("SlicedAttnProcessor" in inner) == slicing
    # Float32, other order of sums, scaled by 7.5: worst 6.4e-6 of 1.2.
    torch.testing.assert_close(*answers, atol=5e-5, rtol=0)


def test_students_learn_beside_it_unsteered(prior: LatentDiffusion) -> None:
    """A student made before or after the prior's attention was steered answers the same; one that is asked, steers."""
    x, before = noised(prior), prior.student()
    views = guided(prior, NegativeAway(strength=0.3))
    steered = views.predict(prior, x, T)
    after, camera = prior.student(), camera_numbers(CAMERAS, x)
    plain = before.predict_noise(x, T, views.plain, camera)
    assert torch.equal(after.predict_noise(x, T, views.plain, camera), plain)
    loss = after.loss(x, x, T, views.plain, camera)
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in after.parameters())
    assert torch.equal(views.predict(prior, x, T), steered)
    # Its low-rank changes begin at zero, so it is steered exactly as the prior is.
    asked = before.predict_noise(x, T, views.positive, camera)
    assert torch.equal(asked, prior.predict_noise(x, T, views.positive))


@pytest.mark.parametrize("wrap", [RandomScale, Rescaled])
def test_it_works_inside_other_shapings(prior: LatentDiffusion, wrap, generator: torch.Generator) -> None:
    inside = guided(prior, wrap(NegativeAway(strength=0.3)))
    assert inside.positive.away is not None
    assert inside.positive.away.tolist() == pytest.approx([0.3, 0.3])
    assert sds_gradient(prior, generator, shaping=NegativeAway(against="other_views")).isfinite().all()


def test_priors_of_another_structure_refuse_it(tmp_path: Path) -> None:
    sd3 = Flow(str(save_tiny_sd3(tmp_path / "sd3")), image_size=16, cache_embeddings=False)
    pixel = Pixel(str(save_tiny_if(tmp_path / "if")), cache_embeddings=False)
    for prior in (sd3, pixel):
        views = TextGuide(table(prior), 7.5, NegativeAway()).at(CAMERAS)  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="no cross-attention that could be steered"):
            views.predict(prior, torch.zeros(2, *prior.latent_shape), T)


def test_rows_of_one_kind_stay_of_one_kind(generator: torch.Generator) -> None:
    """Joined with rows that are not steered, those get the strength 0; slices and repeats carry it along."""
    tokens, other = torch.randn(2, 3, 4, 5, generator=generator)
    joined = Conditioning.cat([Conditioning(tokens), Conditioning(tokens).steered(other, 0.2)])
    assert joined.away is not None
    assert joined.against is not None
    assert joined.away.tolist() == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2])
    assert torch.equal(joined.against, torch.cat([tokens, other]))
    assert joined[3:].repeat(2).away.tolist() == pytest.approx([0.2] * 6)  # pyright: ignore[reportOptionalMemberAccess]


def test_a_recipe_names_it_and_wrong_values_are_explained() -> None:
    shaping = read_spec(
        "shaping", {"type": "negative_away", "strength": 0.2, "against": "other_views"}, AbstractShaping
    )
    assert shaping.build() == NegativeAway(strength=0.2, against="other_views")
    with pytest.raises(ValueError, match="did you mean 'other_views'"):
        NegativeAway(against="other_view")
    with pytest.raises(ValueError, match="strength >= 0"):
        NegativeAway(strength=-0.1)
