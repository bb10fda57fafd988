"""Any guidance with any prior: each cell of the matrix takes a step that reaches the scene and leaves the prior alone.

The methods are those that the package holds, so that a new file in dreamkit/guidance is in the matrix from its first
day; the priors are tiny random pipelines of the real classes.
"""

from dataclasses import replace

import pytest
import torch
from small_runs import small_plan, small_scene
from tiny_priors import FAMILIES, load, weights

from dreamkit.cameras import OrbitSampler, orbit
from dreamkit.construct import options
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.csd import CSD
from dreamkit.guidance.discriminator import Discriminator
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.f_distill import FDistill
from dreamkit.guidance.levels import Window
from dreamkit.guidance.pgc import PGC
from dreamkit.guidance.sds import SDS
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.guidance.vsd import VSD
from dreamkit.guidance.wrapper import AbstractWrapper
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.pretrained import AbstractPretrained
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.training.loop import train
from dreamkit.training.plan import Regularization
from dreamkit.training.run import Distiller


def _made(kind: type) -> AbstractGuidance:
    return kind(inner=SDS()) if issubclass(kind, AbstractWrapper) else kind()


METHODS: dict[str, AbstractGuidance] = {name: _made(kind) for name, kind in options(AbstractGuidance).items()} | {
    "sjc": SDS("uniform"),
    "reconstruction": SDS("ism"),
    "csd, half negative": CSD(negative=0.5),
    "vsd, two cameras": VSD(camera_scale=1.5),
    "swift_brush": VSD(guided_reference=True, text_dropout=0.1),
    "f_distill, adversarial": FDistill(ratio=Discriminator(samples=4, steps=2, hidden=8), adversarial=0.1),
    "pgc over vsd": PGC(inner=VSD(), kind="smooth", masked=True),
}
"""Every method with its defaults, wrappers around SDS; and the options that ask a prior or a student otherwise."""

NAMED = "sds vsd esd asd csd dds pds ism tsm cds sdi f_distill uni_instruct sid dmd2 disback hifa pgc score_clamp"


class Bench:
    """A frozen prior with its prompts, and what its networks were before the first method came."""

    def __init__(self, prior: AbstractPretrained) -> None:
        self.prior = prior
        self.before = {key: value.clone() for key, value in weights(prior).items()}
        self.guide, self.source = (self._guide(prior, text) for text in ("a blue mug", "a red mug"))

    @staticmethod
    def _guide(prior: AbstractPrior, text: str) -> TextGuide:
        return TextGuide(embed_prompts(prior, [ViewWording().prompts(text, negative="a bear")]), scale=7.5)

    def view(self, images: torch.Tensor, progress: float) -> NoisyView:
        """Two views at low and high noise, beside those of an original."""
        generator, cameras = torch.Generator().manual_seed(1), orbit([0.0, 120.0])
        with torch.no_grad():
            other = self.prior.encode(images.detach().flip(2), generator)
        original = OriginalView(other, self.source.at(cameras))
        clean, guide = self.prior.encode(images, generator), self.guide.at(cameras, progress)
        t = torch.tensor([300, 700])
        return noisy_view(
            self.prior, clean, t, guide, cameras, generator, progress=progress, original=original, images=images
        )

    def check_frozen(self) -> None:
        now = weights(self.prior)
        assert all(value.grad is None and not value.requires_grad for value in now.values())
        assert now.keys() == self.before.keys()
        assert all(torch.equal(value, self.before[key]) for key, value in now.items())


@pytest.fixture(scope="module", params=FAMILIES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(load(FAMILIES[request.param](tmp_path_factory.mktemp("model"))))


def learn(method: AbstractGuidance, bench: Bench, images: torch.Tensor) -> torch.nn.Module | None:
    """The method's state after one step of what it learns, by a gradient that went nowhere else."""
    state = method.init(bench.prior)
    learnt = [] if state is None else list(state.parameters())
    # At the beginning of a run, when every part of a state that learns at all does.
    loss = method.fit(bench.prior, bench.view(images, progress=0.0), state)
    assert (loss is None) == (not learnt)
    if loss is None:
        return state
    loss.backward()
    assert loss.isfinite()
    assert images.grad is None
    reached = torch.cat([p.grad.flatten() for p in learnt if p.grad is not None])
    assert reached.isfinite().all()
    assert (reached != 0).any()
    learner = torch.optim.AdamW(learnt, lr=1e-2)
    learner.step()
    learner.zero_grad()
    return state


def test_the_matrix_knows_the_methods() -> None:
    """Found by looking at the package; the names guard against looking in the wrong place."""
    assert set(NAMED.split()) <= METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_step_reaches_the_picture_and_never_the_prior(bench: Bench, name: str, generator: torch.Generator) -> None:
    """One step of what it learns, one of the scene, and neither's gradient in the other or the prior (card 15.2, 2)."""
    method = METHODS[name]
    images = torch.rand(2, 16, 16, 3, generator=generator).requires_grad_()
    state = learn(method, bench, images)
    opacity, rendered = torch.ones(2, 16, 16, 1), images.clone()
    rendered.register_hook(lambda gradient: method.on_image_gradient(gradient, opacity))
    distilled = distill(method, bench.prior, bench.view(rendered, progress=0.5), state)
    distilled.loss.backward()
    assert distilled.nonfinite.tolist() == [0, 0]
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()
    assert state is None or all(p.grad is None for p in state.parameters())
    bench.check_frozen()


@pytest.mark.parametrize("name", ["sds", "pgc over vsd"])
def test_a_run_moves_every_part_of_a_scene_and_never_the_prior(bench: Bench, name: str) -> None:
    """The loop itself, on a tiny hash field, without a regulariser that could move it as well."""
    scene, still = small_scene(), small_scene()
    distiller = Distiller(bench.prior, bench.guide, METHODS[name], Window(0.02, 0.98), OrbitSampler())
    steps = list(train(scene, distiller, replace(small_plan(steps=2), regularization=Regularization())))
    assert [step.note for step in steps] == [None, None]
    for group, start in zip(scene.parameter_groups(), still.parameter_groups(), strict=True):
        moved = [(p - q).abs().max() > 0 for p, q in zip(group.parameters, start.parameters, strict=True)]
        assert any(moved), group.name
    bench.check_frozen()
