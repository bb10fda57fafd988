"""A student in closed form, for priors in closed form: the Gaussian that fits the renders best."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.schedule import NoiseSchedule
from dreamkit.priors.student import CAMERA, AbstractStudent


class GaussianStudent(AbstractStudent):
    """`eps = sigma (x_t - alpha m) / (alpha^2 v^2 + sigma^2)`, with its own m and v for a known and for any camera.

    `m(c) = m_0 + W [1, c]`; m, W and log v are learnt. On renders that are Gaussian around a mean which is linear in
    the pose, it converges to their exact score (method card 2, T2.5). It reads no prompt.
    """

    start: Tensor

    def __init__(self, mean: Float[Tensor, "*latent"], std: float, schedule: NoiseSchedule) -> None:
        """It begins as N(mean, std^2) for all cameras; raises ValueError for a deviation that is not positive."""
        super().__init__(schedule)
        if std <= 0:
            raise ValueError(f"a Gaussian student begins with a positive deviation; got {std}")
        # Not persistent: a checkpoint holds what was learnt.
        self.register_buffer("start", mean.detach().clone(), persistent=False)
        self.std = std
        self.slope = nn.Parameter(mean.new_zeros(CAMERA + 1, mean.numel()))
        self.anywhere = nn.Parameter(mean.new_zeros(mean.numel()))
        self.growth = nn.Parameter(mean.new_zeros(2))

    def _answer(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
        strength: float,
    ) -> Float[Tensor, "batch *latent"]:
        x = noised.flatten(1)
        alpha, sigma = self.schedule.at(t, x)
        known = (camera != 0).any(dim=1, keepdim=True)
        features = torch.cat([torch.ones_like(camera[:, :1]), camera], dim=1)
        moved = torch.where(known, features.to(x) @ self.slope, self.anywhere)
        mean = self.start.flatten() + strength * moved
        v = self.std * torch.exp(strength * torch.where(known, self.growth[0], self.growth[1]))
        return (sigma * (x - alpha * mean) / (alpha**2 * v**2 + sigma**2)).view_as(noised)
