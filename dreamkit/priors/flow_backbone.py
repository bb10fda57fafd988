"""The network of a flow-matching prior: what SD3 and Flux do differently from each other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.priors.conditioning import Conditioning


@dataclass(frozen=True)
class AbstractFlowBackbone(ABC):
    """A frozen transformer that predicts the velocity `noise - x_0`, with the text side that it was trained on."""

    patch: ClassVar[int] = 2
    "Side of the square of latent pixels that is one token."
    text_parts: ClassVar[tuple[str, ...]]
    "What in the model folder an embedding depends on."
    folder: Path
    network: Any
    "A diffusers model."

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the latents that it takes."""

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """Side of the latents that it was trained on."""

    @property
    @abstractmethod
    def t5_tokens(self) -> int:
        """How many tokens of T5 it reads; 0 where it goes without."""

    @abstractmethod
    def encode_text(self, prompts: Sequence[str], device: torch.device, half: bool) -> Conditioning:
        """One row for each prompt, in float32 on the CPU."""

    @abstractmethod
    def velocity(
        self,
        call: Callable[..., Any],
        noised: Float[Tensor, "batch channels rows columns"],
        s: Float[Tensor, " batch"],
        told: Conditioning,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The prediction at noise shares `s` in (0, 1]; `call` is the network, perhaps compiled."""
