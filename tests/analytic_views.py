"""The reference settings of the method cards: views of one number under a prior in closed form, in float64."""

import torch

from dreamkit.cameras import Cameras, orbit
from dreamkit.guidance.view import NoisyView, OriginalView, noisy_view
from dreamkit.priors.analytic import GaussianMixture, gaussian
from dreamkit.priors.guide import GuidedViews, TextGuide
from dreamkit.priors.prompts import ViewWording, embed_prompts
from dreamkit.priors.shaping import CFG, AbstractShaping

M, S, X = 0.3, 0.5, 1.7
"Mean and deviation of the Gaussian prior, and the clean value (method card 0.7)."


def number(*values: float) -> torch.Tensor:
    return torch.tensor([[value] for value in values], dtype=torch.float64)


def levels(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def toy(std: float = S, mean: float = M) -> GaussianMixture:
    return gaussian(torch.tensor([mean], dtype=torch.float64), std)


def pair_prior() -> GaussianMixture:
    """Prompt "0" is N(0.3, 0.5^2), "1" is N(-0.9, 0.7^2); the empty prompt is both with equal weight (card 5.4)."""
    return GaussianMixture(number(0.3, -0.9), torch.tensor([0.5, 0.7], dtype=torch.float64))


def cameras(count: int) -> Cameras:
    return orbit([0.0] * count)


def guide_of(
    prior: GaussianMixture,
    count: int,
    scale: float = 1.0,
    prompt: str = "0",
    negative: str = "",
    shaping: AbstractShaping | None = None,
) -> GuidedViews:
    table = embed_prompts(prior, [ViewWording(enabled=False).prompts(prompt, negative)])
    return TextGuide(table, scale, shaping or CFG()).at(cameras(count))


def view_of(
    prior: GaussianMixture,
    clean: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor | None = None,
    guide: GuidedViews | None = None,
    progress: float = 0.0,
    original: OriginalView | None = None,
    seed: int = 0,
) -> NoisyView:
    guide = guide_of(prior, len(clean)) if guide is None else guide
    source = torch.Generator().manual_seed(seed)
    return noisy_view(prior, clean, t, guide, cameras(len(clean)), source, noise, progress, original)


class Counted(GaussianMixture):
    """The prior of `pair_prior`, which remembers how many rows each of its calls had."""

    def __init__(self) -> None:
        super().__init__(number(0.3, -0.9), torch.tensor([0.5, 0.7], dtype=torch.float64))
        self.calls: list[int] = []

    def _predict(self, noised, t, condition):
        self.calls.append(len(noised))
        return super()._predict(noised, t, condition)
