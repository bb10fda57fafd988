"""Flow-matching priors: SD3 and Flux as predictors of noise, against the pipelines that they come from."""

from pathlib import Path

import pytest
import tiny_flows
import tiny_models
import torch
from sds_step import sds_gradient

from dreamkit.construct import options
from dreamkit.priors import schedule as schedules
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.flow import Flow
from dreamkit.priors.flow_flux import pack, positions, unpack
from dreamkit.priors.latent_diffusion import LatentDiffusion
from dreamkit.priors.locate import PriorNotFound, prior_type
from dreamkit.priors.prediction import to_noise
from dreamkit.recipe import load_recipe
from dreamkit.recipe_file import prior_settings

FLOWS = ("sd3", "flux-dev", "flux-schnell")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("flows")
    return {
        "sd3": tiny_flows.save_tiny_sd3(root / "sd3"),
        "flux-dev": tiny_flows.save_tiny_flux(root / "dev"),
        "flux-schnell": tiny_flows.save_tiny_flux(root / "schnell", distilled=False),
        "sd": tiny_models.save_tiny_model(root / "sd"),
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(folder: Path, **changes) -> Flow:
    return Flow(str(folder), **{"image_size": 16, **changes})


@pytest.mark.parametrize("kind", FLOWS)
def test_one_sds_step_reaches_the_image_and_never_the_prior(
    folders: dict[str, Path], kind: str, generator: torch.Generator
) -> None:
    prior = load(folders[kind])
    assert prior.latent_shape == (4, 8, 8)
    gradient = sds_gradient(prior, generator)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    weights = [*prior.backbone.network.parameters(), *prior.autoencoder.network.parameters()]
    assert all(weight.grad is None and not weight.requires_grad for weight in weights)


def test_bfloat16_points_the_same_way(folders: dict[str, Path]) -> None:
    for kind in ("sd3", "flux-dev"):
        half = sds_gradient(load(folders[kind], dtype="bfloat16"), torch.Generator().manual_seed(0))
        full = sds_gradient(load(folders[kind]), torch.Generator().manual_seed(0))
        assert half.dtype == torch.float32
        # CPU: 1 - cosine is 7.4e-5 (SD3) and 2.3e-4 (Flux).
        assert torch.cosine_similarity(half.flatten(), full.flatten(), dim=0) > 0.99


def test_straight_paths_convert_exactly(generator: torch.Generator) -> None:
    """`eps = x_t + (1 - s) v` with `v = eps - x_0`, on every level, pure noise included."""
    schedule = schedules.straight(3.0)
    clean, noise = torch.randn(2, 5, 4, 3, dtype=torch.float64, generator=generator)
    t = torch.tensor([0, 20, 500, 980, 999])
    found = to_noise("flow_prediction", noise - clean, schedule.add_noise(clean, noise, t), t, schedule)
    # Worst 4.4e-16.
    torch.testing.assert_close(found, noise, atol=1e-14, rtol=0)


def test_levels_are_the_scheduler_s(folders: dict[str, Path]) -> None:
    """SD3: a fixed shift of 3, s = 0.75 in the middle. Flux-dev: `exp(mu)` by the number of tokens."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    sd3 = load(folders["sd3"])
    theirs = FlowMatchEulerDiscreteScheduler.from_pretrained(folders["sd3"] / "scheduler")
    # Theirs is float32: worst 1.1e-7.
    torch.testing.assert_close(sd3.schedule.sigmas, theirs.sigmas.flip(0).double(), atol=1e-6, rtol=0)
    assert sd3.schedule.sigmas[499].item() == pytest.approx(0.75, abs=1e-12)
    assert torch.equal(sd3.schedule.alphas, 1 - sd3.schedule.sigmas)
    for size in (16, 64):
        flux = load(folders["flux-dev"], image_size=size)
        theirs = FlowMatchEulerDiscreteScheduler.from_pretrained(folders["flux-dev"] / "scheduler")
        theirs.set_timesteps(1000, mu=calculate_shift((size // 4) ** 2))
        torch.testing.assert_close(flux.schedule.sigmas, theirs.sigmas[:-1].flip(0).double(), atol=1e-6, rtol=0)


def test_sd3_predictions_are_the_transformer_s_own(folders: dict[str, Path], generator: torch.Generator) -> None:
    """By hand: with a shift of 3, level 499 is s = 0.75 and level 99 is s = 0.25."""
    prior = load(folders["sd3"])
    noised, t, s = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([499, 99]), torch.tensor([0.75, 0.25])
    told = prior.embed(["a", "b"])
    with torch.no_grad():
        raw = prior.backbone.network(noised, told.tokens, told.pooled, 1000 * s).sample
    expected = noised + (1 - s).view(2, 1, 1, 1) * raw
    # Float32, the same operations: measured 0.
    torch.testing.assert_close(prior.predict_noise(noised, t, told), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["flux-dev", "flux-schnell"])
def test_flux_predictions_are_the_transformer_s_own(
    folders: dict[str, Path], kind: str, generator: torch.Generator
) -> None:
    """With the packing and the positions of diffusers' pipeline."""
    from diffusers import FluxPipeline

    prior = load(folders[kind], embedded_guidance=2.0)
    noised, t = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([700, 100])
    told, s = prior.embed(["a", "b"]), prior.schedule.sigmas[t].float()
    with torch.no_grad():
        raw = prior.backbone.network(
            hidden_states=FluxPipeline._pack_latents(noised, 2, 4, 8, 8),
            timestep=s,
            guidance=torch.full((2,), 2.0) if kind == "flux-dev" else None,
            pooled_projections=told.pooled,
            encoder_hidden_states=told.tokens,
            txt_ids=torch.zeros(told.tokens.shape[1], 3),
            img_ids=FluxPipeline._prepare_latent_image_ids(2, 4, 4, torch.device("cpu"), torch.float32),
        ).sample
    raw = FluxPipeline._unpack_latents(raw, 16, 16, 2)
    expected = noised + (1 - s).view(2, 1, 1, 1) * raw
    # Float32, the same operations: worst 2.4e-7.
    torch.testing.assert_close(prior.predict_noise(noised, t, told), expected, atol=1e-6, rtol=0)


def test_flux_dev_listens_to_its_embedded_guidance(folders: dict[str, Path], generator: torch.Generator) -> None:
    noised, t = torch.randn(1, 4, 8, 8, generator=generator), torch.tensor([500])
    low, high = (load(folders["flux-dev"], embedded_guidance=scale) for scale in (1.0, 7.0))
    told = low.embed(["a"])
    assert (low.predict_noise(noised, t, told) - high.predict_noise(noised, t, told)).abs().max() > 1e-4


def test_packing_is_undone_and_keeps_the_place_of_each_square(generator: torch.Generator) -> None:
    latents = torch.randn(2, 3, 6, 4, generator=generator)
    tokens = pack(latents)
    assert torch.equal(unpack(tokens, 6, 4), latents)
    where = positions(3, 2)
    for index in range(6):
        _, row, column = where[index].int().tolist()
        square = latents[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(tokens[:, index], square.flatten(1))


@pytest.mark.parametrize("kind", ["sd3", "flux-dev"])
def test_text_embeddings_are_those_of_the_pipeline(folders: dict[str, Path], kind: str) -> None:
    from diffusers import FluxPipeline, StableDiffusion3Pipeline

    prompts, prior = ["a red mug, back view", ""], load(folders[kind])
    pipe = (FluxPipeline if kind == "flux-dev" else StableDiffusion3Pipeline).from_pretrained(folders[kind])
    # With a graph, attention takes another kernel: 9e-6 away.
    with torch.no_grad():
        if kind == "flux-dev":
            tokens, pooled, _ = pipe.encode_prompt(prompts, None)
        else:
            tokens, _, pooled, _ = pipe.encode_prompt(prompts, None, None, do_classifier_free_guidance=False)
    ours = prior.embed(prompts)
    # The same encoders in float32: measured 0.
    torch.testing.assert_close(ours.tokens, tokens, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.pooled, pooled, atol=1e-6, rtol=0)
    assert torch.equal(load(folders[kind]).embed(prompts).tokens, ours.tokens)


def test_sd3_goes_without_t5_and_does_not_mix_both_in_its_cache(folders: dict[str, Path], tmp_path: Path) -> None:
    with_t5 = load(folders["sd3"]).embed(["a"]).tokens
    without = load(folders["sd3"], use_t5=False).embed(["a"]).tokens
    assert with_t5.shape == without.shape == (1, 77 + 256, 40)
    assert torch.equal(with_t5[:, :77], without[:, :77])
    assert (without[:, 77:] == 0).all()
    assert (with_t5[:, 77:] != 0).any()
    absent = load(tiny_flows.save_tiny_sd3(tmp_path / "small", with_t5=False))
    assert (absent.embed(["a"]).tokens[:, 77:] == 0).all()


def test_latents_are_shifted_and_scaled_and_back(folders: dict[str, Path], generator: torch.Generator) -> None:
    prior = load(folders["sd3"], sample_posterior=False)
    images = torch.rand(1, 16, 16, 3, generator=generator)
    with torch.no_grad():
        z = prior.autoencoder.network.encode(2 * images.movedim(-1, 1) - 1).latent_dist.mean
        # Float32: measured 0.
        torch.testing.assert_close(prior.encode(images), (z - 0.06) * 1.5, atol=1e-6, rtol=0)


def test_folders_of_another_family_name_the_type_to_set(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PriorNotFound, match=r"holds the pipeline FluxPipeline.*set prior.type=flow"):
        LatentDiffusion(str(folders["flux-dev"]))
    with pytest.raises(PriorNotFound, match=r"holds the pipeline StableDiffusionPipeline.*type=latent_diffusion"):
        load(folders["sd"])
    (tmp_path / "photos" / "holiday").mkdir(parents=True)
    with pytest.raises(PriorNotFound, match=r"no transformer/config.json. It holds holiday"):
        load(tmp_path / "photos")
    with pytest.raises(PriorNotFound, match=r"set prior.type=flow"):
        LatentDiffusion("flux-dev")


def test_the_type_of_prior_is_known_before_it_is_loaded(folders: dict[str, Path]) -> None:
    found = [prior_type(str(folders[name])) for name in ("sd3", "flux-dev", "sd")]
    assert found == ["flow", "flow", "latent_diffusion"]
    assert [prior_type(name) for name in ("if", "sd35", "sdxl", "owner/unknown")] == [
        "pixel",
        "flow",
        "latent_diffusion",
        None,
    ]
    assert options(AbstractPrior)["flow"] is Flow


def test_the_command_line_sets_the_type_where_the_usual_one_cannot_read_the_model(folders: dict[str, Path]) -> None:
    chosen = load_recipe("toybox", prior_settings(str(folders["sd3"]))).prior
    assert (chosen.cls, chosen.arguments["model"]) == (Flow, str(folders["sd3"]))
    for name in (str(folders["sd"]), "owner/unknown"):
        assert load_recipe("toybox", prior_settings(name)).prior.cls is LatentDiffusion
    assert prior_settings(None) == []


def test_options_that_do_not_fit_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        load(folders["sd3"], image_size=18)
    with pytest.raises(ValueError, match="Flux reads its words from T5"):
        load(folders["flux-dev"], use_t5=False)
    with pytest.raises(ValueError, match="a flow needs a FlowMatch scheduler"):
        schedules.flow_from_config({"_class_name": "DDPMScheduler"}, 16)
    with pytest.raises(ValueError, match="must be positive"):
        schedules.straight(0.0)
