"""The learnt reference: a small trainable noise predictor that follows the renders of the scenes being made."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.cameras import Cameras
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.prediction import check_kind, to_noise
from dreamkit.priors.schedule import NoiseSchedule

CAMERA = 16
"How many numbers describe a camera to a student."


class AbstractStudent(nn.Module, ABC):
    """`eps_phi(x_t, t, c, y)`: like a prior's prediction, and it knows the camera (method card 2, networks).

    A camera is the 16 numbers of its pose; all zeros mean "any camera". Its parameters are what it learns, and its
    `state_dict` holds nothing else. A student answers as its network does (eps, v, x_0 or velocity): the loss compares
    answers of that kind, and `predict_noise` always returns eps.
    """

    def __init__(self, schedule: NoiseSchedule, kind: str = "epsilon") -> None:
        super().__init__()
        self.schedule = schedule
        self.kind = check_kind(kind)

    def predict_noise(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
        strength: float = 1.0,
        differentiable: bool = False,
    ) -> Float[Tensor, "batch *latent"]:
        """eps at levels `t`; without a graph unless `differentiable`.

        `strength` is the share of what was learnt: 0 gives the student as it began, 1 as it is now.
        """
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            answer = self._answer(noised, t, condition, camera, strength)
            return to_noise(self.kind, answer, noised, t, self.schedule)

    def loss(
        self,
        clean: Float[Tensor, "batch *latent"],
        noise: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
    ) -> Float[Tensor, ""]:
        """`mean |f_phi(alpha_t x + sigma_t eps, t, c, y) - target|^2`; the gradient stops at the clean latents."""
        still = clean.detach()
        answer = self._answer(self.schedule.add_noise(still, noise, t), t, condition, camera, 1.0)
        return (answer - to_answer(self.kind, still, noise, t, self.schedule)).square().mean()

    @abstractmethod
    def _answer(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
        strength: float,
    ) -> Float[Tensor, "batch *latent"]:
        """What the network says, of the kind `self.kind`."""


def to_answer(
    kind: str,
    clean: Float[Tensor, "batch *latent"],
    noise: Float[Tensor, "batch *latent"],
    t: Int[Tensor, " batch"],
    schedule: NoiseSchedule,
) -> Float[Tensor, "batch *latent"]:
    """What a network of this kind should have said: eps, `alpha eps - sigma x_0`, x_0, or `eps - x_0`."""
    alpha, sigma = schedule.at(t, clean)
    match check_kind(kind):
        case "v_prediction":
            return alpha * noise - sigma * clean
        case "sample":
            return clean
        case "flow_prediction":
            return noise - clean
        case _:
            return noise


def camera_numbers(cameras: Cameras, like: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch 16"]:
    """The camera-to-world matrices as a student reads them, in the type and on the device of `like`."""
    return cameras.pose.flatten(1).to(like)
