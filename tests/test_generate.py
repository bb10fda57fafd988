"""The command as its users meet it: files, resume after kill -9, and every kind of bad input."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dreamkit.cli import app
from dreamkit.priors.locate import locate

SMALL = [
    "--set", "training.checkpoint_every=5",
    "--set", "shape.levels.log2_table_size=12",
    "--set", "shape.density_map.scale=20",
    "--set", "renderer.samples=32",
    "--set", "export.grid=32",
    "--set", "export.faces=1000",
    "--set", "export.texture=128",
    "--set", "export.frames=4",
    "--set", "export.size=64",
]  # fmt: skip
"A run of seconds: few samples, a coarse mesh, small previews. The dense blob keeps its surface without training."


def dreamkit(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "400"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output + result.stderr


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "mug"
    code, text = dreamkit("generate", "a red mug", "--steps", "10", "--device", "cpu", "--out", str(out), *SMALL)
    assert code == 0, text
    return out


def test_a_run_leaves_everything_that_was_promised(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"asset.glb", "asset.obj", "asset.mtl", "asset.png", "preview.png", "turntable.mp4", "recipe.toml"} <= names
    assert {"metrics.json", "log.jsonl", "checkpoint.safetensors"} <= names
    assert not [name for name in names if name.startswith(".") or name.endswith(".partial")]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["prompt"] == "a red mug"
    assert {"load the prior", "optimise", "export"} <= set(metrics["seconds"])
    assert metrics["mesh_psnr_median"] > 15
    for line in (finished / "log.jsonl").read_text().splitlines():
        json.loads(line)


def test_the_recipe_of_a_run_runs_again_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    recipe = finished / "recipe.toml"
    assert tomllib.loads(recipe.read_text())["prompt"]["text"] == "a red mug"
    code, text = dreamkit("generate", "--recipe", str(recipe), "--device", "cpu", "--out", str(tmp_path / "again"))
    assert code == 0, text
    assert digest(tmp_path / "again" / "asset.glb") == digest(finished / "asset.glb")


def test_kill_9_and_resume_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    """The process is killed without warning as soon as its first checkpoint lies on the disk."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "dreamkit", "generate", "a red mug", "--steps", "10", "--device", "cpu"]
    command += ["--out", str(out), *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (out / "checkpoint.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "checkpoint.safetensors").exists()
    assert not (out / "metrics.json").exists(), "the run ended before it could be killed"
    result = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert digest(out / "asset.glb") == digest(finished / "asset.glb")


def test_a_second_run_does_not_overwrite_the_first(finished: Path) -> None:
    before = digest(finished / "asset.glb")
    code, text = dreamkit("generate", "a blue mug", "--steps", "10", "--out", str(finished), *SMALL)
    assert code == 2
    assert "--resume" in text
    assert "--out" in text
    assert digest(finished / "asset.glb") == before


def test_resume_with_other_settings_is_refused(finished: Path) -> None:
    code, text = dreamkit("generate", "a red mug", "--steps", "11", "--out", str(finished), "--resume", *SMALL)
    assert code == 2
    assert "recipe.toml" in text


def test_export_again_with_fewer_faces(finished: Path) -> None:
    code, text = dreamkit("export", str(finished), "--set", "export.faces=300")
    assert code == 0, text
    assert json.loads((finished / "metrics.json").read_text())["faces"] <= 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", ""], ["prompt is empty"]),
        (["generate", "   "], ["prompt is empty"]),
        (["generate"], ["prompt is empty"]),
        (["generate", "a red mug", "--recipe", "toybx"], ["did you mean 'toybox'"]),
        (["generate", "a red mug", "--recipe", "no/such.toml"], ["no file"]),
        (["generate", "a red mug", "--set", "training.stesp=3"], ["did you mean 'steps'"]),
        (["generate", "a red mug", "--sed", "3"], ["--seed"]),
        (["generate", "a red mug", "--steps", "0"], ["--steps"]),
        (["generate", "a red mug", "--device", "warp9"], ["warp9", "--device cpu"]),
        (["generate", "a red mug", "--prior", "nobody/nothing"], ["nobody/nothing", "local folder"]),
        (["generate", "a red mug", "--prior", "stabilityai/stable-diffusion-2-1"], ["sd21"]),
        (["generate", "a red dragon"], ["dragon", "--prior"]),
        (["generate", "a red mugg"], ["'mug'"]),
        (["export", "no/such/run"], ["no file"]),
        (["evaluate", "no/such/run"], ["no file"]),
        (["cite", "nothing"], ["toybox"]),
    ],
)
def test_bad_input_gets_one_paragraph_and_exit_code_2(
    arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, text = dreamkit(*arguments)
    assert code == 2, text
    assert all(word in text for word in words), text
    assert "Traceback" not in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, text = dreamkit("generate", "a red mug", "--out", str(tmp_path / "file" / "run"))
    assert code == 2
    assert str(tmp_path / "file") in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_reported_and_loses_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dreamkit.export.gltf as gltf

    before = digest(finished / "asset.glb")

    def full(path: Path, content: bytes) -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(content)

    monkeypatch.setattr(gltf, "write_atomically", full)
    code, text = dreamkit("export", str(finished))
    assert code == 2
    assert "No space left on device" in text
    assert digest(finished / "asset.glb") == before


def test_a_damaged_checkpoint_is_refused(finished: Path, tmp_path: Path) -> None:
    for name in ("recipe.toml", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    content = bytearray((tmp_path / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    recipe = str(tmp_path / "recipe.toml")
    code, text = dreamkit("generate", "--recipe", recipe, "--device", "cpu", "--out", str(tmp_path), "--resume")
    assert code == 2
    assert "checksum" in text


def test_an_empty_surface_says_what_to_try(tmp_path: Path) -> None:
    nothing = ["--set", "shape.density_map.blob=none", "--set", "shape.density_map.activation=trunc_exp"]
    nothing += ["--set", "export.level=1000"]
    code, text = dreamkit(
        "generate", "a red mug", "--steps", "1", "--device", "cpu", "--out", str(tmp_path / "o"), *SMALL, *nothing
    )
    assert code == 2
    assert "level" in text
    assert (tmp_path / "o" / "checkpoint.safetensors").exists()


def test_tables_and_citations() -> None:
    assert "toybox" in dreamkit("recipes")[1]
    code, text = dreamkit("doctor")
    assert code == 0
    assert "hash_encode" in text
    assert "eprint = {2209.14988}" in dreamkit("cite")[1]


def test_the_prior_in_the_box_is_small_and_safe() -> None:
    folder = locate("toybox")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 18 * 2**20
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}


def test_stable_diffusions_own_pipeline_loads_the_box() -> None:
    """The ordinary diffusers layout: nothing of dreamkit is needed to sample from the prior."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(locate("toybox"), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipeline("a red mug", num_inference_steps=2, height=64, width=64, generator=generator, output_type="np")
    assert images.images.shape == (1, 64, 64, 3)
