"""A run that starts from an asset that is there already: what it keeps, what it refuses, and how it is stopped."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SIZE

from dreamkit.batch.prompt_file import read_prompts
from dreamkit.batch.task import Defaults, plan_tasks
from dreamkit.convert.keep import DARKEST, Keep
from dreamkit.convert.plan import NoRoute, find_way
from dreamkit.convert.to_textured_mesh import ToTexturedMesh
from dreamkit.export.check_file import DamagedFile, companions
from dreamkit.export.gltf import write_glb
from dreamkit.export.import_shape import import_shape
from dreamkit.export.load import load_mesh
from dreamkit.export.obj import write_obj
from dreamkit.export.splat_file import SplatFile
from dreamkit.export.splat_ply import write_splat_ply
from dreamkit.generate import FolderInUse, generate, starting_scene
from dreamkit.mesh import Mesh
from dreamkit.priors.analytic import gaussian
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.rendering import Step
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.tet_mesh import TetMesh
from dreamkit.representations.textured_mesh import TexturedMesh, ball
from dreamkit.source import SourceChanged, load_scene, open_scene, with_source

TINY = (
    "training.steps=4", "training.checkpoint_every=2", "export.frames=0", "export.size=16", "export.texture=64",
    "export.refine=0", "export.faces=200", "export.grid=24", "prompt.wording.enabled=false",
)  # fmt: skip
TETS = ("shape.resolution=12", "shape.levels.log2_table_size=8", "shape.levels.levels=3",
        "converter.fit.steps=1", "converter.fit.size=8", "converter.color_steps=1")  # fmt: skip
TEXTURE = ("shape.texture=16",)


@pytest.fixture(scope="module")
def mug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A white ball with coordinates of its own, and a dent, so that its sides differ."""
    mesh = ball(0.5, 4)
    vertices = mesh.vertices * torch.where(mesh.vertices[:, :1] > 0, 1.0, 0.7)
    path = tmp_path_factory.mktemp("files") / "white mug.glb"
    write_glb(replace(mesh, vertices=vertices, texture=torch.ones(8, 8, 3)), path)
    return path


@pytest.fixture
def cloud(tmp_path: Path, generator: torch.Generator) -> Path:
    turns = torch.nn.functional.normalize(torch.randn(40, 4, generator=generator), dim=-1)
    places, waves = torch.randn(40, 3, generator=generator), 0.1 * torch.randn(40, 4, 3, generator=generator)
    write_splat_ply(SplatFile(places, torch.full((40, 3), -1.0), turns, torch.ones(40), waves), tmp_path / "cloud.ply")
    return tmp_path / "cloud.ply"


def tiny(name: str, source: Path | str, *settings: str) -> Recipe:
    """A recipe in miniature, for a prior whose pictures are all orange."""
    recipe = load_recipe(name, [*TINY, f"source.path={json.dumps(str(source))}", *settings]).asking("0", 0)
    milestones = replace(recipe.training.milestones, sizes=(SIZE,))
    return replace(recipe, training=replace(recipe.training, milestones=milestones))


def run(recipe: Recipe, out: Path, resume: bool = False) -> Iterator[Step]:
    prior = gaussian(torch.tensor([0.9, 0.5, 0.1]).expand(SIZE, SIZE, 3).contiguous(), 0.3)
    return generate(recipe, out, prior=prior, resume=resume)


def finished(recipe: Recipe, out: Path, resume: bool = False) -> list[Step]:
    return list(run(recipe, out, resume))


def corners(mesh: Mesh) -> torch.Tensor:
    """Positions and texture coordinates of each triangle's corners: what does not depend on how vertices are listed."""
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    return torch.cat([mesh.corners, mesh.uv[mesh.uv_faces]], dim=-1)


@pytest.fixture(scope="module")
def textured(mug: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("texture") / "whole"
    stages = [step.stage for step in finished(tiny("toybox-texture", mug, *TEXTURE), out)]
    assert list(dict.fromkeys(stages)) == ["convert", "optimise", "export"]
    return out


def test_a_texture_is_new_and_the_geometry_is_the_files_bit_for_bit(mug: Path, textured: Path) -> None:
    before = import_shape(mug)
    after = load_scene(load_recipe(str(textured / "recipe.toml")), textured).shape
    assert isinstance(before, TexturedMesh)
    assert isinstance(after, TexturedMesh)
    for name in ("vertices", "faces", "uv", "uv_faces"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    assert after.texels.shape == (16, 16, 3)
    assert float(after.texels.detach().sigmoid().mean()) < 0.7, "the file's white was to be left"
    # What artists open has the same triangles at the same places, with the coordinates that the file had.
    written = load_mesh(textured / "asset.glb")
    assert torch.equal(corners(written), corners(Mesh(before.vertices, before.faces, before.uv, before.uv_faces)))
    assert written.texture is not None
    # Measured: 2e-3, half a step of eight bits.
    assert torch.allclose(written.texture, torch.sigmoid(after.texels), atol=2.1e-3)
    assert json.loads((textured / "metrics.json").read_text())["faces"] == len(before.faces)


@pytest.mark.parametrize(("stage", "steps"), [("convert", 1), ("optimise", 1), ("optimise", 3)])
def test_stopped_anywhere_and_resumed_gives_the_same_bytes(
    mug: Path, textured: Path, tmp_path: Path, stage: str, steps: int
) -> None:
    recipe, taken = tiny("toybox-texture", mug, *TEXTURE), 0
    for step in run(recipe, tmp_path / "stopped"):
        taken += step.stage == stage
        if taken == steps:
            break
    assert not (tmp_path / "stopped" / "asset.glb").exists()
    finished(recipe, tmp_path / "stopped", resume=True)
    assert (tmp_path / "stopped" / "asset.glb").read_bytes() == (textured / "asset.glb").read_bytes()


def test_a_changed_source_is_refused_in_words(mug: Path, tmp_path: Path) -> None:
    own, out = tmp_path / "own.glb", tmp_path / "out"
    own.write_bytes(mug.read_bytes())
    stopped = run(tiny("toybox-texture", own, *TEXTURE), out)
    next(stopped)
    stopped.close()
    write_glb(replace(ball(0.5, 4), texture=torch.zeros(8, 8, 3)), own)
    with pytest.raises(SourceChanged, match=r"own\.glb has changed since this run began"):
        next(run(tiny("toybox-texture", own, *TEXTURE), out, resume=True))
    with pytest.raises(SourceChanged, match="Put the old content back"):
        next(run(load_recipe(str(out / "recipe.toml")), out, resume=True))
    own.write_bytes(mug.read_bytes())
    with pytest.raises(FolderInUse, match="resumed only with its own recipe"):
        next(run(tiny("toybox-texture", own, "shape.texture=32"), out, resume=True))
    assert len(finished(tiny("toybox-texture", own, *TEXTURE), out, resume=True)) > 4


def test_files_that_a_file_names_are_part_of_it(tmp_path: Path) -> None:
    write_obj(replace(ball(0.5, 4), texture=torch.ones(8, 8, 3)), tmp_path / "a.obj", "a")
    assert [path.name for path in companions(tmp_path / "a.obj")] == ["a.mtl", "a.png"]
    recipe = with_source(tiny("toybox-texture", tmp_path / "a.obj"))
    assert recipe.source is not None
    (tmp_path / "a.png").write_bytes(b"another picture")
    with pytest.raises(SourceChanged):
        with_source(recipe)


def test_a_source_takes_the_place_of_the_coarse_stage(mug: Path, tmp_path: Path) -> None:
    steps = finished(tiny("toybox-mesh", mug, *TETS), tmp_path / "out")
    assert "takes the place of the recipe's coarse stage" in (steps[0].note or "")
    assert "coarse" not in {step.stage for step in steps}
    assert any("started from white mug.glb (textured_mesh, now tet_mesh)" in (step.note or "") for step in steps)
    stored = load_recipe(str(tmp_path / "out" / "recipe.toml"))
    assert stored.coarse is None
    assert stored.source is not None
    assert (stored.source.path, len(stored.source.sha256)) == (str(mug), 64)


def test_a_run_is_a_source_too(textured: Path, tmp_path: Path) -> None:
    recipe = tiny("toybox-texture", textured, "shape.texture=16", "converter.colors=1.0", "training.rates.colors=0.0")
    finished(recipe, tmp_path / "again")
    before, after = (load_scene(load_recipe(str(f / "recipe.toml")), f).shape for f in (textured, tmp_path / "again"))
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())


@pytest.mark.long
def test_a_way_of_several_conversions_is_gone(textured: Path, tmp_path: Path) -> None:
    finished(tiny("toybox-mesh", textured, *TETS), tmp_path / "meshed")
    back = finished(tiny("toybox-texture", tmp_path / "meshed", *TEXTURE), tmp_path / "back")
    stages = dict.fromkeys(step.stage for step in back)
    assert list(stages) == ["fit renders textured_mesh", "convert textured_mesh", "convert", "optimise", "export"]
    again = load_scene(load_recipe(str(tmp_path / "back" / "recipe.toml")), tmp_path / "back").shape
    assert isinstance(again, TexturedMesh)
    assert again.texels.shape == (16, 16, 3)


def test_a_cloud_is_kept_as_it_is(cloud: Path, tmp_path: Path) -> None:
    still = [f"training.rates.{name}=0.0" for name in ("positions", "scales", "rotations", "opacities", "colors")]
    control = "shape.control.finish=0.1"
    finished(tiny("toybox-gaussians", cloud, *still, control, "shape.degree=1"), tmp_path / "out")
    kept = load_scene(load_recipe(str(tmp_path / "out" / "recipe.toml")), tmp_path / "out").shape
    before = import_shape(cloud)
    assert isinstance(kept, Gaussians)
    assert isinstance(before, Gaussians)
    for name, value in vars(before.cloud).items():
        assert torch.equal(getattr(kept.cloud, name), value), name


def test_a_path_is_meant_from_the_recipe_that_names_it(mug: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.glb").write_bytes(mug.read_bytes())
    (tmp_path / "here" / "own.toml").write_text('extends = "toybox-texture"\n[source]\npath = "own.glb"\n')
    from_file = with_source(load_recipe(str(tmp_path / "here" / "own.toml")))
    assert from_file.source is not None
    assert from_file.source.path == str(tmp_path / "here" / "own.glb")
    monkeypatch.chdir(tmp_path / "here")
    assert with_source(load_recipe("toybox-texture", ["source.path=own.glb"])).source == from_file.source


def test_a_batch_looks_at_sources_when_it_is_planned(mug: Path, tmp_path: Path) -> None:
    own = tmp_path / "my mug.glb"
    own.write_bytes(mug.read_bytes())
    lines = f"a red mug --source '{own}'\na blue mug --source {own.parent}/nothing.glb\na red bear --recipe toybox\n"
    (tmp_path / "looks.txt").write_text(lines)
    wanted = read_prompts(tmp_path / "looks.txt")
    tasks, refused = plan_tasks(wanted, Defaults("toybox-texture"), tmp_path / "out")
    assert [line.prompt for line in refused] == ["a blue mug"]
    assert "no such file or folder" in refused[0].error
    assert [task.prompt for task in tasks] == ["a red mug", "a red bear"]
    again, _ = plan_tasks(wanted, Defaults("toybox-texture"), tmp_path / "out")
    assert again == tasks
    write_glb(ball(0.5, 3), own)
    changed, _ = plan_tasks(wanted, Defaults("toybox-texture"), tmp_path / "out")
    assert (changed[0].key != tasks[0].key, changed[1].key == tasks[1].key) == (True, True)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("toybox-texture", "", "--source FILE"),
        ("toybox-texture", "nothing.glb", "no such file or folder: nothing.glb"),
        ("toybox-texture", ".", "recipe.toml is missing"),
        ("toybox-dds", "MUG", "leave the source out"),
        ("toybox-texture", "CUT", "damaged|cut short"),
        ("toybox-texture", "TEXT", "known endings"),
        ("toybox-texture", "x\0y", "no such file"),
    ],
)
def test_mistakes_are_explained_before_time_is_spent(
    mug: Path, tmp_path: Path, name: str, source: str, words: str
) -> None:
    (tmp_path / "cut.glb").write_bytes(mug.read_bytes()[:200])
    (tmp_path / "text.txt").write_text("a mug")
    given = {"MUG": str(mug), "CUT": str(tmp_path / "cut.glb"), "TEXT": str(tmp_path / "text.txt")}.get(source, source)
    with pytest.raises(ValueError, match=words):
        next(run(tiny(name, given), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_converter_that_is_named_has_a_part_on_every_way() -> None:
    assert [hop.converter for hop in find_way(TetMesh, TexturedMesh, Keep)] == [ToTexturedMesh, Keep]
    assert [hop.converter for hop in find_way(TexturedMesh, TexturedMesh, Keep)] == [Keep]
    assert [hop.converter for hop in find_way(Gaussians, Gaussians)] == [Keep]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_colours_is_kept(mug: Path, share: float) -> None:
    teacher = open_scene(mug)
    student = load_recipe("toybox-texture", ["shape.texture=16"]).scene()
    fresh = student.shape.texels.detach().clone()
    for _ in Keep(colors=share).convert(teacher, student):
        pass
    white = torch.logit(torch.tensor(1 - DARKEST))
    assert torch.allclose(student.shape.texels.detach(), share * white + (1 - share) * fresh, atol=1e-5)


def test_channels_beyond_the_colour_begin_fresh(mug: Path) -> None:
    options = ["shape.texture=16", "shape.channels=5", "material={type='pbr'}"]
    student = load_recipe("toybox-texture", options).scene()
    fresh = student.shape.texels.detach().clone()
    for _ in Keep(unwrap=True).convert(open_scene(mug), student):
        pass
    # Colours pass through the logarithm twice; measured: 2e-6.
    assert torch.allclose(student.material.base_color(student.shape.texels.detach().view(-1, 5)),
                          torch.full((256, 3), 1 - DARKEST), atol=1e-5)  # fmt: skip
    assert torch.equal(student.shape.texels.detach()[..., 3:], fresh[..., 3:])
    assert len(student.shape.uv) != len(open_scene(mug).shape.uv), "the triangles were to be laid out anew"


def test_a_way_that_leads_nowhere_is_refused(mug: Path, cloud: Path) -> None:
    with pytest.raises(NoRoute, match="pvd has no part in making textured_mesh of textured_mesh"):
        with_source(tiny("toybox-texture", mug, "converter={type='pvd'}"))
    with pytest.raises(ValueError, match="conversion of its source"):
        starting_scene(tiny("toybox-texture", cloud))
    (cloud.parent / "bad.glb").write_bytes(b"glTF")
    with pytest.raises(DamagedFile, match="damaged"):
        open_scene(cloud.parent / "bad.glb")
