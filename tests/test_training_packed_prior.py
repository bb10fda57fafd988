"""What a method makes of a view in a pack is what it makes of it alone, for every method and every family of priors."""

from collections.abc import Generator
from dataclasses import replace

import pytest
import torch
from test_method_matrix import METHODS
from tiny_priors import FAMILIES, load
from torch import Tensor

from dreamkit.cameras import orbit
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import OriginalView, noisy_view
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.perp_neg import PerpNeg
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.priors.shaping import APG, CFG, AbstractShaping
from dreamkit.training.together import Share, together

PROMPTS, LEVELS = ("a blue mug", "a red bear"), ([300, 700], [150, 999])
"Of two scenes; inversions take another number of steps for each."


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AbstractPrior:
    return load(FAMILIES[request.param](tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> AbstractPrior:
    return load(FAMILIES["sd"](tmp_path_factory.mktemp("model")))


def image_gradient(method: AbstractGuidance, prior: AbstractPrior, scene: int, shaping: AbstractShaping) -> Tensor:
    """dL/dI of one step at random images, after one step of what the method learns; an edit of their mirror image."""
    generator, cameras = torch.Generator().manual_seed(scene), orbit([0.0, 120.0])
    images = torch.rand(2, 16, 16, 3, generator=generator)
    guides = [
        TextGuide(embed_prompts(prior, [ViewWording().prompts(text, negative="a bear")]), 7.5, shaping).at(cameras)
        for text in (PROMPTS[scene], "a red mug")
    ]
    state = method.init(prior)
    encoded = prior.encode_apart(images, generator)
    with torch.no_grad():
        original = OriginalView(prior.encode(images.flip(2), generator), guides[1])
    view = noisy_view(
        prior, encoded.latents, torch.tensor(LEVELS[scene]), guides[0], cameras, generator, progress=0.7,
        original=original, images=encoded.images,
    )  # fmt: skip
    loss = method.fit(prior, replace(view, clean=view.clean.detach()), state)
    if loss is not None and state is not None:
        loss.backward()
        torch.optim.SGD(state.parameters(), lr=1e-2).step()
    return encoded.image_gradient(distill(method, prior, view, state).loss)


def difference(method: AbstractGuidance, prior: AbstractPrior, shaping: AbstractShaping) -> float:
    """Between both scenes packed and each alone: the largest, as a share of the largest number."""

    def job(scene: int):
        def run(share: Share) -> Generator[Tensor]:
            yield image_gradient(method, share(prior), scene, shaping)

        return run

    packed = dict(together([job(0), job(1)]))
    alone = [image_gradient(method, prior, scene, shaping) for scene in (0, 1)]
    assert all(gradient.norm() > 0 for gradient in alone)
    return max(float((packed[s] - alone[s]).abs().max() / alone[s].abs().max()) for s in (0, 1))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_pulls_a_packed_scene_where_it_pulls_it_alone(prior: AbstractPrior, name: str) -> None:
    # Worst 1.4e-5 (DDS); most give the very bytes, for so small a network.
    assert difference(METHODS[name], prior, CFG()) < 1e-4


@pytest.mark.parametrize("shaping", [PerpNeg(), APG()], ids=["perp_neg", "apg"])
def test_shapings_keep_their_scenes_apart(prior: AbstractPrior, shaping: AbstractShaping) -> None:
    # Worst 4.9e-6.
    assert difference(SDS(), prior, shaping) < 1e-4


def test_every_family_of_priors_can_be_shared(family: AbstractPrior) -> None:
    # Measured 0 for all.
    assert difference(SDS(), family, CFG()) < 1e-4
