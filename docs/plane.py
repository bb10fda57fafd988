"""A plane whose points are pictures, with a prior in closed form on it, and scenes that follow a guidance there.

A picture has one pixel of two channels. The prior is a mixture of three Gaussians; the prompt is true of two of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.cameras import orbit
from dreamkit.guidance.base import AbstractGuidance
from dreamkit.guidance.distillation import distill
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.guide import GuidedViews
from dreamkit.priors.shaping import CFG
from dreamkit.priors.student import CAMERA, AbstractStudent

MEANS = torch.tensor([[-1.1, 0.55], [1.15, 0.75], [0.1, -1.25]], dtype=torch.float64)
STDS = torch.tensor([0.42, 0.3, 0.4], dtype=torch.float64)
PROMPT, EVERYTHING, SOURCE, TARGET = (0.6, 0.4, 0.0), (0.36, 0.24, 0.4), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)
"What texts mean: weights of the components. An edit leads from SOURCE to TARGET."
BLUR = 0.12
"Deviation of what the student thinks of each render."
WAY = 14.0
"How far a dot would get in the whole run if all pulls were as long as the first."


class AtOnce(AbstractStudent):
    """A student that needs no training: it knows the renders that it was shown last, each blurred a little."""

    def __init__(self, prior: GaussianMixture) -> None:
        super().__init__(prior.schedule)
        self.first, self.seen, self.camera = prior, prior, torch.zeros(len(prior.means), CAMERA, dtype=torch.float64)
        # Methods ask their students for a parameter, to find its device.
        self.nothing = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def loss(
        self,
        clean: Float[Tensor, "batch *latent"],
        noise: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
    ) -> Float[Tensor, ""]:
        """Learns by being asked."""
        self.seen, self.camera = GaussianMixture(clean.detach(), BLUR, schedule=self.schedule), camera
        return self.nothing.square()

    def _answer(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
        strength: float,
    ) -> Float[Tensor, "batch *latent"]:
        # With a camera: of the renders that it took. Without one: of all.
        told = (camera != 0).any(dim=1, keepdim=True)
        same = ((torch.cdist(camera, self.camera) < 1e-6) | ~told).to(noised)
        known = Conditioning((same / same.sum(dim=1, keepdim=True)).unsqueeze(1))
        learnt = self.seen.predict_noise(noised, t, known, differentiable=True)
        if strength == 1:
            return learnt
        begun = self.first.predict_noise(noised, t, means(EVERYTHING, len(noised)), differentiable=True)
        return (1 - strength) * begun + strength * learnt


class Plane(GaussianMixture):
    """The prior; its students learn at once."""

    def __init__(self) -> None:
        super().__init__(MEANS.view(-1, 1, 1, 2), STDS, torch.tensor(EVERYTHING, dtype=torch.float64))

    def student(self, rank: int = 4) -> AtOnce:
        return AtOnce(self)


@dataclass(frozen=True)
class Setting:
    """The circumstances in which a method is shown."""

    scale: float = 1.0
    level: int = 150
    "The noise level of all views."
    first: int | None = None
    "The level at the start, for a method whose levels must fall to `level`."
    noise: tuple[float, float] | None = None
    "One noise for the whole run; without it, the mean over all noises."
    edit: bool = False
    "Whether the dots start as finished scenes, with which the method compares."
    views: bool = False
    "Whether the dots are views of one scene, each with its own camera, instead of scenes seen by one camera."

    def levels(self, count: int, progress: float) -> Int[Tensor, " batch"]:
        first = self.level if self.first is None else self.first
        return torch.full((count,), round(first + (self.level - first) * progress))


class Scenes:
    """Dots on the plane that follow a method as scenes do in the training loop."""

    def __init__(self, method: AbstractGuidance, setting: Setting, count: int, draws: int) -> None:
        self.method, self.setting, self.prior = method, setting, Plane()
        self.state = method.init(self.prior)
        fixed = setting.noise
        self.nodes = normal_nodes(draws) if fixed is None else torch.tensor([fixed], dtype=torch.float64)
        spread = normal_nodes(2 * count)[:count]
        self.start = MEANS[2] + 0.36 * spread if setting.edit else 0.95 * spread
        self.dots, self.length = self.start, 0.0
        self.learn(0.0)

    def run(self, steps: int, since: float, until: float) -> None:
        """Descend along G from the share `since` of the run to `until`.

        Methods differ in size, so steps are measured by the mean length of the first pull that is not zero.
        """
        for step in range(round(steps * since), round(steps * until)):
            pull = self.pull(self.dots, self.start, step / steps)
            self.length = self.length or pull.norm(dim=1).mean().item()
            self.dots = self.dots + WAY / steps * pull / (self.length or 1.0)
            self.learn(step / steps)

    def pull(
        self, points: Float[Tensor, "points 2"], originals: Float[Tensor, "points 2"], progress: float
    ) -> Float[Tensor, "points 2"]:
        """-G at points of the plane, its mean over the noise; by `distill` and the image hook, as in training."""
        draws = len(self.nodes)
        leaf, before = (spots.view(-1, 1, 1, 2).repeat_interleave(draws, dim=0) for spots in (points, originals))
        image = leaf.requires_grad_().clone()
        image.register_hook(
            lambda gradient: self.method.on_image_gradient(gradient, torch.ones_like(gradient[..., :1]))
        )
        view = self.view(image, before, self.nodes.repeat(len(points), 1).view_as(image), progress)
        (gradient,) = torch.autograd.grad(distill(self.method, self.prior, view, self.state).loss, leaf)
        # The loss is divided by the number of views.
        return -len(leaf) * gradient.view(-1, draws, 2).mean(dim=1)

    def learn(self, progress: float) -> None:
        """Show the dots to what the method learns."""
        image = self.dots.view(-1, 1, 1, 2)
        self.method.fit(self.prior, self.view(image, image, torch.zeros_like(image), progress), self.state)

    def view(
        self,
        image: Float[Tensor, "views 1 1 2"],
        before: Float[Tensor, "views 1 1 2"],
        noise: Float[Tensor, "views 1 1 2"],
        progress: float,
    ) -> NoisyView:
        """Pictures as a guidance sees them; `before` is what an edit compares them with."""
        setting, count = self.setting, len(image)
        told = guide(count, TARGET if setting.edit else PROMPT, setting.scale)
        original = OriginalView(before, guide(count, SOURCE, setting.scale)) if setting.edit else None
        cameras = orbit(torch.arange(count, dtype=torch.float64) * (360 / count if setting.views else 0))
        clean, t = self.prior.encode(image), setting.levels(count, progress)
        source = torch.Generator().manual_seed(0)
        return noisy_view(self.prior, clean, t, told, cameras, source, noise, progress, original, image)


def guide(count: int, text: tuple[float, ...], scale: float) -> GuidedViews:
    """A text and a guidance scale for `count` views."""
    positive, null = means(text, count), means(EVERYTHING, count)
    scales = torch.full((count,), scale, dtype=torch.float64)
    return GuidedViews(positive, null, positive, null, (), scales.new_zeros(count, 0), scales, CFG())


def means(text: tuple[float, ...], count: int) -> Conditioning:
    """What a text means, as the prior reads it."""
    return Conditioning(torch.tensor(text, dtype=torch.float64).expand(count, 1, len(text)))


def normal_nodes(count: int) -> Float[Tensor, "nodes 2"]:
    """Points that stand for a normal distribution on the plane: a sunflower, and its mirror image."""
    index = torch.arange(count // 2, dtype=torch.float64) + 0.5
    radius, angle = (-2 * torch.log(1 - index / (count // 2))).sqrt(), index * math.pi * (3 - 5**0.5)
    half = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return torch.cat([half, -half])
