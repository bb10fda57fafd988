"""Edits: a scene next to the one that it was, from the loop to the command's folder."""

import itertools
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SIZE, small_distiller, small_plan, small_scene

from dreamkit.construct import RecipeError
from dreamkit.generate import generate, make_distiller, starting_scene
from dreamkit.guidance.dds import DDS
from dreamkit.guidance.noise import Fixed
from dreamkit.guidance.pds import PDS
from dreamkit.guidance.pgc import PGC
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.guide import TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.priors.random_scale import RandomScale
from dreamkit.recipe import Recipe, load_recipe, parse_recipe
from dreamkit.training.checkpoint import load_checkpoint
from dreamkit.training.loop import train
from dreamkit.training.original import Original
from dreamkit.training.run import Distiller


def two_colours() -> GaussianMixture:
    """Prompt "0" is orange pictures, "1" is blue ones."""
    orange, blue = (torch.tensor(c).expand(SIZE, SIZE, 3) for c in ([0.9, 0.5, 0.1], [0.1, 0.3, 0.9]))
    return GaussianMixture(torch.stack([orange, blue]), 0.3)


def editing(new: str, old: str, guidance: DDS | PDS | PGC | None = None, masked: bool = False) -> Distiller:
    prior = two_colours()
    new_guide, old_guide = (
        TextGuide(embed_prompts(prior, [ViewWording(enabled=False).prompts(text)]), 3.0, RandomScale())
        for text in (new, old)
    )
    original = Original(small_scene(), old_guide, masked)
    usual = small_distiller(guidance or DDS())
    return replace(usual, prior=prior, guide=new_guide, original=original)


@pytest.mark.parametrize("guidance", [DDS(), PDS()])
def test_t5_4_an_edit_of_nothing_moves_nothing(guidance: DDS | PDS) -> None:
    """T5.4: `theta = theta_0` and equal prompts: background, jitter, noise and the random scale are drawn alike."""
    plan = replace(small_plan(steps=3), regularization=replace(small_plan().regularization, sparsity=0.0, opaque=0.0))
    scene, before = small_scene(), small_scene()
    steps = list(train(scene, editing("0", "0", guidance), plan))
    assert [step.metrics["guidance"] for step in steps] == [0, 0, 0]
    for name, value in before.named_parameters():
        assert torch.equal(dict(scene.named_parameters())[name], value)


def test_an_edit_changes_the_colour_and_the_original_stays() -> None:
    """Orange to blue: the picture becomes bluer, without noise in the pull."""
    distiller, scene = editing("1", "0"), small_scene()
    cameras = distiller.cameras.sample(2, 16, 16, torch.Generator().manual_seed(9))

    def blueness(shown) -> float:
        view = shown.render(cameras)
        solid = view.alpha.squeeze(-1) > 0.8
        return float((view.color[solid][:, 2] - view.color[solid][:, 0]).mean())

    before = blueness(scene)
    assert list(train(scene, distiller, small_plan(steps=15, every=15)))[-1].index == 15
    # Blue minus red: 0.00 before, 0.18 after fifteen steps.
    assert blueness(scene) > before + 0.1
    assert distiller.original is not None
    untouched = dict(small_scene().named_parameters())
    assert all(torch.equal(value, untouched[name]) for name, value in distiller.original.scene.named_parameters())


def test_an_edit_that_was_killed_resumes_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, cut, resumed = small_scene(), small_scene(), small_scene()
    list(train(whole, editing("1", "0"), small_plan(steps=6, every=3)))
    list(itertools.islice(train(cut, editing("1", "0"), small_plan(steps=6, every=3), path=path), 4))
    list(train(resumed, editing("1", "0"), small_plan(steps=6, every=3), path=path, resume=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_a_mask_keeps_the_pull_on_the_original(generator: torch.Generator) -> None:
    """The mask is 1 exactly where the original is solid; elsewhere the pull is zero."""
    distiller = editing("1", "0", masked=True)
    cameras = distiller.cameras.sample(2, SIZE, SIZE, generator)
    assert distiller.original is not None
    guide = distiller.guide.at(cameras, source=generator)
    state = generator.get_state()
    seen = distiller.original.view(distiller.prior, guide, cameras, 0.0, state, state)
    assert seen.mask is not None
    assert seen.mask.shape == (2, SIZE, SIZE, 1)
    assert set(seen.mask.unique().tolist()) == {0.0, 1.0}
    assert not seen.clean.requires_grad
    assert torch.equal(seen.guide.scale, guide.scale)


def test_the_noise_of_a_run_is_what_the_distiller_says() -> None:
    """With fixed noise a run is another one, and as repeatable as ever."""
    runs = [small_scene() for _ in range(3)]
    for scene, noise in zip(runs, (Fixed(), Fixed(), None), strict=True):
        distiller = small_distiller() if noise is None else replace(small_distiller(), noise=noise)
        list(train(scene, distiller, small_plan(steps=4)))
    states = [torch.cat([p.detach().flatten() for p in scene.parameters()]) for scene in runs]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_loop_clips_what_reaches_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGC's hook sits on the rendered colours, and gets their opacity."""
    seen: list[torch.Tensor] = []
    original = PGC.on_image_gradient

    def watch(self, gradient, alpha=None):
        result = original(self, gradient, alpha)
        seen.append(result)
        return result

    monkeypatch.setattr(PGC, "on_image_gradient", watch)
    guidance = PGC(DDS(), threshold=0.002, masked=True)
    list(train(small_scene(), editing("1", "0", guidance), small_plan(steps=2)))
    # Two views: the bound is 0.001, up to float32's last bit.
    assert len(seen) == 2
    assert all(gradient.abs().max() <= 0.001 * (1 + 1e-6) for gradient in seen)
    assert seen[0].abs().max() > 0.0005


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run's folder as `generate` leaves it, as far as an edit needs it."""
    recipe = small_recipe().asking("a red mug", 5)
    folder = tmp_path / "mug"
    folder.mkdir()
    (folder / "recipe.toml").write_text(recipe.text())
    plan = small_plan(steps=2, every=1)
    prior = two_colours()
    orange = TextGuide(embed_prompts(prior, [ViewWording(enabled=False).prompts("0")]), 1.0)
    distiller = replace(small_distiller(), prior=prior, guide=orange)
    list(train(recipe.scene(), distiller, plan, path=folder / "checkpoint.safetensors"))
    return folder


def small_recipe(*settings: str, name: str = "toybox") -> Recipe:
    return load_recipe(name, ["shape.levels.log2_table_size=8", "renderer.samples=16", *settings])


def test_an_edit_takes_over_the_scene_and_the_prompt_of_its_run(finished: Path) -> None:
    recipe = load_recipe("toybox-dds", [f"edit.run={finished}"])
    adopted = recipe.adopting(load_recipe(str(finished / "recipe.toml")))
    assert adopted.edit is not None
    assert adopted.edit.prompt == "a red mug"
    assert adopted.shape.arguments["levels"].log2_table_size == 8
    # Not the ramp from 4 to 10 that the run began with: the fine levels hold a part of the shape.
    assert adopted.shape.arguments["active_levels"] == 10.0
    stored = load_checkpoint(finished / "checkpoint.safetensors").part("scene")
    scene = starting_scene(adopted)
    assert all(torch.equal(value, stored[name]) for name, value in scene.state_dict().items())
    assert parse_recipe(tomllib.loads(adopted.text())).text() == adopted.text()


def test_an_edits_distiller_holds_both_prompts(finished: Path) -> None:
    recipe = load_recipe("toybox-dds", [f"edit.run={finished}", "edit.prompt='0'", "prompt.wording.enabled=false"])
    recipe = recipe.adopting(load_recipe(str(finished / "recipe.toml"))).asking("1", 0)
    distiller = make_distiller(recipe, two_colours())
    assert distiller.original is not None
    assert distiller.guide.table.prompts[0].plain == "1"
    assert distiller.original.guide.table.prompts[0].plain == "0"


def test_an_edit_of_no_run_says_what_to_do(tmp_path: Path) -> None:
    recipe = load_recipe("toybox-dds").asking("a blue mug", 0)
    with pytest.raises(ValueError, match=r"--set edit\.run="):
        next(generate(recipe, tmp_path / "out", prior=two_colours()))
    missing = load_recipe("toybox-dds", ["edit.run=nowhere"]).asking("a blue mug", 0)
    with pytest.raises(RecipeError, match="no file"):
        next(generate(missing, tmp_path / "out", prior=two_colours()))
    assert not (tmp_path / "out").exists()
