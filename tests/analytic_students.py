"""Students in closed form: what the trained reference of VSD and ESD would converge to."""

import torch

from dreamkit.cameras import Cameras
from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.student import AbstractStudent


class Exact(AbstractStudent):
    """The exact eps of known renders: component c for camera c, all of them where no camera is told."""

    def __init__(self, renders: GaussianMixture, cameras: Cameras | None = None) -> None:
        super().__init__(renders.schedule)
        self.renders, self.cameras = renders, cameras

    def _answer(self, noised, t, condition, camera, strength):
        weights = self.renders.weights.expand(len(noised), -1)
        if self.cameras is not None:
            nearest = torch.cdist(camera, self.cameras.pose.flatten(1).to(noised)).argmin(dim=1)
            one = torch.eye(len(self.renders.means)).to(noised)[nearest]
            weights = torch.where((camera != 0).any(dim=1, keepdim=True), one, weights)
        return self.renders._predict(noised, t, Conditioning(weights.unsqueeze(1)))


class Says(AbstractStudent):
    """A student that says what it was told to say."""

    def __init__(self, renders: GaussianMixture, answer: torch.Tensor) -> None:
        super().__init__(renders.schedule)
        self.answer = answer

    def _answer(self, noised, t, condition, camera, strength):
        return self.answer
