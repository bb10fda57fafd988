"""Priors whose score is known in closed form: what every guidance is tested against (method card 0.7).

Images are latents here, of any shape: one number (`batch 1`), a plane of points, an image.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.names import did_you_mean
from dreamkit.priors import schedule as noise_schedules
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import Source, normal
from dreamkit.priors.gaussian_student import GaussianStudent
from dreamkit.priors.schedule import NoiseSchedule


class GaussianMixture(AbstractPrior):
    """`p(x) = sum_k pi_k N(m_k, s_k^2 I)`, with `p(x | prompt k) = N(m_k, s_k^2 I)`.

    `eps = sigma sum_k r_k (x_t - alpha m_k) / S_k^2`, `S_k^2 = alpha^2 s_k^2 + sigma^2`, and responsibilities
    `r_k ~ w_k N(x_t; alpha m_k, S_k^2 I)`. A condition *is* the weights w over components: one-hot for a prompt that
    names a component, pi for the empty prompt, anything in between for an interpolated embedding.
    """

    def __init__(
        self,
        means: Float[Tensor, "components *latent"],
        stds: Float[Tensor, " components"] | float,
        weights: Float[Tensor, " components"] | None = None,
        names: Sequence[str] | None = None,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        """Without `weights` all components weigh the same; without `names` the prompts are "0", "1", ..."""
        count = len(means)
        self.means = means
        self.stds = torch.as_tensor(stds, dtype=means.dtype, device=means.device).expand(count)
        even = torch.full((count,), 1 / count, dtype=means.dtype, device=means.device)
        self.weights = even if weights is None else weights / weights.sum()
        self.names = tuple(names) if names is not None else tuple(str(k) for k in range(count))
        if len(self.names) != count:
            raise ValueError(f"{len(self.names)} names for {count} components; give one to each")
        self.name = f"mixture of {count} Gaussians"
        self.schedule = noise_schedules.scaled_linear() if schedule is None else schedule
        self.latent_shape = tuple(means.shape[1:])
        self.image_size = self.latent_shape[0]

    @property
    def device(self) -> torch.device:
        return self.means.device

    def encode(
        self, images: Float[Tensor, "batch *image"], generator: Source | None = None
    ) -> Float[Tensor, "batch *image"]:
        """The identity."""
        return images

    def decode(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *latent"]:
        """The identity."""
        return latents

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """Weights over components; a prompt that is no name counts by the part before its first comma.

        So "bear, front view" is the component of that name where there is one, else "bear". Raises ValueError for a
        prompt that names no component.
        """
        return Conditioning(torch.stack([self._weights_of(prompt) for prompt in prompts]).unsqueeze(1))

    def sample(
        self, batch: int, source: Source, condition: Conditioning | None = None
    ) -> Float[Tensor, "batch *latent"]:
        """Clean samples; without a condition, of the whole mixture."""
        noise = normal(torch.empty(batch, *self.latent_shape, dtype=self.means.dtype, device=self.device), source)
        # The component is read off another normal number through its distribution function: one kind of draw suffices.
        share = torch.special.ndtr(normal(noise.new_empty(batch), source))
        weights = self.weights.expand(batch, -1) if condition is None else condition.tokens[:, 0].to(self.means)
        edges = weights.cumsum(dim=1)[:, :-1]
        component = (share.unsqueeze(1) >= edges).sum(dim=1)
        return self.means[component] + self.stds[component].view(-1, *[1] * len(self.latent_shape)) * noise

    def student(self, rank: int = 4) -> GaussianStudent:
        """The Gaussian with the mixture's mean and its average variance, free to follow the renders."""
        shares = self.weights.view(-1, *[1] * len(self.latent_shape))
        mean = (shares * self.means).sum(dim=0)
        between = (shares * (self.means - mean).square()).sum(dim=0).mean()
        variance = (self.weights * self.stds**2).sum() + between
        return GaussianStudent(mean, max(float(variance.sqrt()), 1e-3), self.schedule)

    def _weights_of(self, prompt: str) -> Float[Tensor, " components"]:
        if not prompt:
            return self.weights
        name = prompt if prompt in self.names else prompt.split(",")[0].strip()
        if name not in self.names:
            raise ValueError(
                f"this prior has no component {name!r}{did_you_mean(name, self.names)} Known: {', '.join(self.names)}"
            )
        return torch.eye(len(self.names), dtype=self.means.dtype, device=self.device)[self.names.index(name)]

    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]:
        alpha, sigma = self.schedule.at(t, noised.flatten(1))
        x, means = noised.flatten(1), self.means.flatten(1).to(noised)
        gap = x.unsqueeze(1) - alpha.unsqueeze(1) * means
        variance = alpha**2 * self.stds.to(noised) ** 2 + sigma**2
        # A weight of zero has the logarithm -inf, which softmax turns back into an exact zero.
        score = condition.tokens[:, 0].to(noised).log() - 0.5 * (
            gap.square().sum(dim=2) / variance + x.shape[1] * variance.log()
        )
        pull = torch.softmax(score, dim=1) / variance
        return (sigma * torch.einsum("bk,bkn->bn", pull, gap)).view_as(noised)


def gaussian(mean: Float[Tensor, "*latent"], std: float, schedule: NoiseSchedule | None = None) -> GaussianMixture:
    """`p(x) = N(m, s^2 I)`: `eps = sigma (x_t - alpha m) / (alpha^2 s^2 + sigma^2)`. Its only prompts: "0" and ""."""
    prior = GaussianMixture(mean.unsqueeze(0), std, schedule=schedule)
    prior.name = "Gaussian"
    return prior


def renders(images: Float[Tensor, "views *latent"], schedule: NoiseSchedule | None = None) -> GaussianMixture:
    """The distribution of a scene's renders: `q_t(. | view c) = N(alpha theta_c, sigma^2)`, views equally likely.

    What the trained reference of VSD and ESD converges to. Prompt "c" is view c, "" is a view chosen at random.
    """
    prior = GaussianMixture(images, 0.0, schedule=schedule)
    prior.name = f"{len(images)} renders"
    return prior
