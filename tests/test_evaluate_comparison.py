"""The page that compares runs: all are on it, what people wrote is escaped, the same runs give the same page."""

import json
from pathlib import Path

import pytest
import torch
import trimesh

from dreamkit.evaluate.appearance import appearance, diversity
from dreamkit.evaluate.comparison import write_comparison
from dreamkit.export.gltf import write_glb
from dreamkit.mesh import Mesh


def finished_run(folder: Path, prompt: str, size: tuple[float, float, float], **judged: float) -> Path:
    folder.mkdir()
    solid = trimesh.creation.box(size)
    write_glb(
        Mesh(torch.tensor(solid.vertices, dtype=torch.float32), torch.tensor(solid.faces)), folder / "asset.glb", "a"
    )
    told = {
        "prompt": prompt,
        "seed": 0,
        "steps": 20,
        "faces": 12,
        "mesh_psnr_median": 30.0,
        "seconds": {"optimise": 4.0},
    }
    (folder / "metrics.json").write_text(json.dumps(told | judged))
    lines = [{"stage": "optimise", "step": step, "loss": 9.0 / step} for step in (10, 20)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_page_holds_every_run_and_escapes_what_people_wrote(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plots need matplotlib: pip install 'dreamkit[docs]'")
    hostile = "<script>alert(1)</script>"
    folders = [finished_run(tmp_path / "one", "a box", (1, 1, 1), judge_kind=0.5),
               finished_run(tmp_path / "two", hostile, (1, 2, 1))]  # fmt: skip
    runs = [appearance(folder) for folder in folders]
    assert runs[0].losses == ((10, 0.9), (20, 0.45))
    assert runs[0].saturation == pytest.approx(0, abs=1e-4)
    for name in ("a.html", "b.html"):
        write_comparison(runs, tmp_path / name)
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert "<script" not in page
    assert page.count("<tr>") == 3
    assert page.count('class="strip"') == 2
    assert "0.50" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_diversity_is_nothing_for_equal_assets_and_counts_only_the_same_prompt(tmp_path: Path) -> None:
    one = appearance(finished_run(tmp_path / "one", "a box", (1, 1, 1)))
    same = appearance(finished_run(tmp_path / "same", "a box", (1, 1, 1)))
    other = appearance(finished_run(tmp_path / "other", "a box", (1, 3, 1)))
    stranger = appearance(finished_run(tmp_path / "stranger", "a stick", (0.1, 3, 0.1)))
    assert diversity([one, same]) == 0
    assert diversity([one, other]) > 0.02
    assert diversity([one, stranger]) is None


def test_a_folder_without_a_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no finished run"):
        appearance(tmp_path)


def test_a_converted_run_has_no_steps_and_is_compared_all_the_same(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "one", "a box", (1, 1, 1))
    told = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({key: told[key] for key in told if key not in ("seed", "steps")}))
    run = appearance(folder)
    assert (run.seed, run.steps) == (None, None)
    pytest.importorskip("matplotlib", reason="the plots need matplotlib: pip install 'dreamkit[docs]'")
    write_comparison([run, appearance(finished_run(tmp_path / "two", "a box", (1, 2, 1)))], tmp_path / "a.html")
    assert '<td class="n">-</td>' in (tmp_path / "a.html").read_text()
