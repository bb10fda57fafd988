"""Painting a toy whose shape is given: what gradient clipping does to a texture, where the truth is known."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from arms import PROMPTS
from jaxtyping import Float
from runs import load_prior_of, sides
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.cameras import orbit
from dreamkit.evaluate.metrics import occupancy
from dreamkit.export.atomic import write_atomically
from dreamkit.generate import make_distiller
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.view import noisy_view
from dreamkit.recipe import Recipe, load_recipe
from dreamkit.renderers.scene import Scene
from dreamkit.representations.base import AbstractField
from dreamkit.representations.hash_field import HashField
from dreamkit.toybox.captions import parse
from dreamkit.toybox.world import build, picture
from dreamkit.training.loop import train

SIZES = (32, 64, 96, 128)
"Sides of the images that the encoder is shown, in pixels."
SOLID = 120.0
"Density inside a toy, per scene unit."


class PaintedToy(AbstractField):
    """A toy's own solid, as density that never changes, under a texture that is learnt."""

    solid: Tensor

    def __init__(self, kind: str, texture: HashField, resolution: int = 96) -> None:
        super().__init__()
        self.radius, self.channels, self.texture = texture.radius, texture.channels, texture
        inside = occupancy(build(kind).mesh(), -torch.ones(3), torch.ones(3), resolution)
        self.register_buffer("solid", inside.float())

    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        return self.texture.encode(points, progress)

    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        # grid_sample reads (x, y, z) as (last, middle, first) axis of the grid.
        places = points.flip(-1).view(1, 1, 1, -1, 3)
        found = functional.grid_sample(self.solid[None, None], places, align_corners=False, padding_mode="border")
        return SOLID * found.flatten()

    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        return self.texture.decode_features(encoding)

    def spacing(self, progress: float = 1.0) -> float:
        return self.texture.spacing(progress)

    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        return self.texture.encoding_parameters()

    def network_parameters(self) -> Iterator[nn.Parameter]:
        return self.texture.feature_head.parameters()


@dataclass(frozen=True)
class Painting:
    """One run: a prompt whose toy is painted, with or without clipping."""

    prompt: str
    seed: int
    size: int
    threshold: float
    "Of PGC; 0 for none."

    @property
    def name(self) -> str:
        return f"paint/{self.prompt}/{self.seed}-{self.size}-{self.threshold}".replace(" ", "-")

    def recipe(self, steps: int) -> Recipe:
        sds = "type='sds', weighting='sds'"
        guidance = f"{{type='pgc', threshold={self.threshold}, inner={{{sds}}}}}" if self.threshold else f"{{{sds}}}"
        settings = (
            f"guidance={guidance}", f"prior.image_size={self.size}", f"training.steps={steps}", "prompt.scale=7.5",
            f"training.milestones={{starts=[0.0], sizes=[{self.size}], views=[2]}}", "training.preview_every=0",
            "shape.active_levels=10.0", "training.regularization.opaque=0.0",
        )  # fmt: skip
        return load_recipe("toybox", settings).asking(self.prompt, self.seed)

    def scene(self, recipe: Recipe) -> Scene:
        toy = PaintedToy(parse(self.prompt).kind, recipe.shape.build(seed=self.seed))
        return Scene(toy, recipe.material.build(), recipe.background.build(), recipe.renderer.build())


def paint(painting: Painting, out: Path, steps: int) -> float:
    """Texture error: mean absolute difference from the world's own picture, inside the object, over eight sides."""
    path = out / painting.name / "claims.json"
    if path.exists():
        return json.loads(path.read_text())["error"]
    recipe = painting.recipe(steps)
    scene = painting.scene(recipe)
    for _ in train(scene, make_distiller(recipe, load_prior_of(recipe)), recipe.training, seed=painting.seed):
        pass
    error = texture_error(scene.eval(), painting.prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"error": error}).encode())
    return error


@torch.no_grad()
def texture_error(scene: Scene, prompt: str) -> float:
    """On pixels that the object covers wholly, in the render and in truth."""
    subject, cameras = parse(prompt), sides()
    rendering = scene.render(cameras)
    truth, alpha = picture(build(subject.kind), subject.look, cameras, torch.zeros(len(cameras), 3))
    covered = (alpha > 0.999) & (rendering.alpha > 0.98)
    return float((rendering.color - truth).abs()[covered.expand_as(truth)].mean())


def pixel_noise(size: int, seed: int = 0) -> tuple[float, float]:
    """Of |dL/dI| per pixel under SDS: the 99.9th percentile over the median, and the largest over the median."""
    lengths = []
    for prompt in PROMPTS:
        painting = Painting(prompt, seed, size, 0.0)
        recipe = painting.recipe(1)
        prior, distiller = load_prior_of(recipe), make_distiller(recipe, load_prior_of(recipe))
        generator = torch.Generator().manual_seed(seed)
        cameras = orbit([0.0, 90.0, 180.0, 270.0], 15.0, 2.3, 40.0, size, size)
        toy = parse(prompt)
        images = picture(build(toy.kind), toy.look, cameras, torch.full((4, 3), 0.5))[0].requires_grad_()
        t = torch.tensor([200, 400, 600, 800])
        guide = distiller.guide.at(cameras, 0.5, source=generator)
        view = noisy_view(prior, prior.encode(images, generator), t, guide, cameras, generator)
        distill(distiller.guidance, prior, view).loss.backward()
        assert images.grad is not None
        lengths.append(images.grad.abs().amax(dim=-1).flatten())
    every = torch.cat(lengths)
    middle = float(every.median())
    return float(every.quantile(0.999)) / middle, float(every.max()) / middle
