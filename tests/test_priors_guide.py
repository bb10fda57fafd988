import pytest
import torch

from dreamkit.cameras import orbit
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.guide import GuidedViews, TextGuide
from dreamkit.priors.perp_neg import PerpNeg
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.priors.shaping import APG
from dreamkit.schedules import Ramp

NAMES = ["bear", "bear, front view", "bear, side view", "bear, back view", "car", "ugly"]


class Counting(GaussianMixture):
    """Remembers how many rows each call to the network had."""

    def _predict(self, noised, t, condition):
        self.calls = [*getattr(self, "calls", []), len(noised)]
        return super()._predict(noised, t, condition)


@pytest.fixture
def prior(generator: torch.Generator) -> Counting:
    return Counting(torch.randn(6, 2, 2, dtype=torch.float64, generator=generator), 0.4, names=NAMES)


@pytest.fixture
def noised(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 2, 2, dtype=torch.float64, generator=generator)


T = torch.tensor([100, 500, 900])
CAMERAS = orbit([0.0, 100.0, 170.0], elevation=10.0)


def guide(prior: GaussianMixture, text: str = "bear", negative: str = "", **options) -> TextGuide:
    return TextGuide(embed_prompts(prior, [ViewWording().prompts(text, negative)]), **options)


def test_plain_guidance_is_one_call_of_two_rows_a_view(prior: Counting, noised: torch.Tensor) -> None:
    guide(prior).at(CAMERAS).predict(prior, noised, T)
    assert prior.calls == [6]


def test_perp_neg_is_one_call_of_four_rows_a_view(prior: Counting, noised: torch.Tensor) -> None:
    guide(prior, shaping=PerpNeg()).at(CAMERAS).predict(prior, noised, T)
    assert prior.calls == [12]


def test_the_guided_noise_is_null_plus_scaled_difference(prior: Counting, noised: torch.Tensor) -> None:
    texts = ["bear, front view", "bear, side view", "bear, back view"]
    text, null = (prior.predict_noise(noised, T, prior.embed(prompts)) for prompts in (texts, [""] * 3))
    found = guide(prior, scale=7.5).at(CAMERAS).predict(prior, noised, T)
    # Same operations in batches of another size: measured 0.
    torch.testing.assert_close(found, null + 7.5 * (text - null), atol=1e-12, rtol=0)


def test_a_negative_prompt_takes_the_place_of_the_empty_one(prior: Counting, noised: torch.Tensor) -> None:
    views = guide(prior, negative="ugly", scale=0.0).at(CAMERAS)
    expected = prior.predict_noise(noised, T, prior.embed(["ugly"] * 3))
    # Measured 0.
    torch.testing.assert_close(views.predict(prior, noised, T), expected, atol=1e-12, rtol=0)
    assert torch.equal(views.null.tokens, prior.embed([""] * 3).tokens)
    assert torch.equal(views.plain.tokens, prior.embed(["bear"] * 3).tokens)


def test_the_scale_may_change_over_the_run(prior: Counting) -> None:
    assert guide(prior, scale=Ramp(100.0, 10.0)).at(CAMERAS, progress=0.5).scale.tolist() == [55.0] * 3


@pytest.mark.parametrize("shaping", [PerpNeg(), APG()])
def test_packed_scenes_are_guided_as_they_are_alone(prior: Counting, noised: torch.Tensor, shaping) -> None:
    bear, car = (guide(prior, text, scale=scale, shaping=shaping) for text, scale in (("bear", 7.0), ("car", 20.0)))
    parts = [bear.at(CAMERAS), car.at(CAMERAS, progress=0.3)]
    together = GuidedViews.cat(parts).predict(prior, noised.repeat(2, 1, 1), T.repeat(2))
    apart = torch.cat([part.predict(prior, noised, T) for part in parts])
    # Measured 0.
    torch.testing.assert_close(together, apart, atol=1e-12, rtol=0)
    assert len(GuidedViews.cat(parts)) == 6


def test_views_of_one_batch_may_have_several_prompts(prior: Counting, noised: torch.Tensor) -> None:
    table = embed_prompts(prior, [ViewWording().prompts("bear"), ViewWording().prompts("car")])
    found = TextGuide(table, scale=1.0).at(CAMERAS, owner=torch.tensor([1, 0, 1]))
    assert torch.equal(found.positive.tokens, prior.embed(["car", "bear, side view", "car"]).tokens)


def test_scenes_with_different_shapings_do_not_pack(prior: Counting) -> None:
    with pytest.raises(ValueError, match="share a shaping"):
        GuidedViews.cat([guide(prior).at(CAMERAS), guide(prior, shaping=PerpNeg()).at(CAMERAS)])
