"""Flux: a transformer over packed latents with positions in the plane, CLIP's pooled vector and T5's tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.flow_backbone import AbstractFlowBackbone
from dreamkit.priors.t5 import encode_t5
from dreamkit.priors.text import PARTS, encode_clip


@dataclass(frozen=True)
class FluxBackbone(AbstractFlowBackbone):
    """`FluxTransformer2DModel`. The "dev" weights are distilled: they take `embedded_guidance`, the guidance scale that
    they imitate, as an input; "schnell" takes none."""

    text_parts: ClassVar[tuple[str, ...]] = (*PARTS, "transformer/config.json")
    embedded_guidance: float = 3.5

    @property
    def channels(self) -> int:
        return self.network.config["in_channels"] // self.patch**2

    @property
    def latent_size(self) -> int:
        # Its config does not say; both releases were trained around 1024 pixels.
        return 128

    @property
    def t5_tokens(self) -> int:
        return 512 if self.network.config["guidance_embeds"] else 256

    def encode_text(self, prompts: Sequence[str], device: torch.device, half: bool) -> Conditioning:
        _, pooled = encode_clip(self.folder, "", prompts, device)
        tokens = encode_t5(self.folder, "_2", prompts, device, length=self.t5_tokens, half=half)
        return Conditioning(tokens, pooled)

    def velocity(
        self,
        call: Callable[..., Any],
        noised: Float[Tensor, "batch channels rows columns"],
        s: Float[Tensor, " batch"],
        told: Conditioning,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The network takes s itself; text stands at the origin of the plane of positions."""
        rows, columns = noised.shape[-2:]
        guidance = torch.full_like(s, self.embedded_guidance) if self.network.config["guidance_embeds"] else None
        output = call(
            hidden_states=pack(noised),
            timestep=s,
            guidance=guidance,
            pooled_projections=told.pooled,
            encoder_hidden_states=told.tokens,
            txt_ids=noised.new_zeros(told.tokens.shape[1], 3),
            img_ids=positions(rows // self.patch, columns // self.patch).to(noised),
            return_dict=False,
        )[0]
        return unpack(output, rows, columns)


def pack(latents: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch patches features"]:
    """Each square of 2 by 2 latent pixels becomes one token; features run over (channel, row, column)."""
    batch, channels, rows, columns = latents.shape
    squares = latents.view(batch, channels, rows // 2, 2, columns // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, rows // 2 * columns // 2, channels * 4)


def unpack(
    tokens: Float[Tensor, "batch patches features"], rows: int, columns: int
) -> Float[Tensor, "batch channels rows columns"]:
    """The inverse of `pack` for latents of `rows` by `columns`."""
    batch, _, features = tokens.shape
    squares = tokens.view(batch, rows // 2, columns // 2, features // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(batch, features // 4, rows, columns)


def positions(rows: int, columns: int) -> Float[Tensor, "patches 3"]:
    """(0, row, column) of each token, row by row."""
    row, column = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], dim=-1).view(-1, 3)
