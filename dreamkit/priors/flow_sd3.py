"""Stable Diffusion 3 and 3.5: a transformer over latent patches, two CLIP encoders, and T5 if it is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.flow_backbone import AbstractFlowBackbone
from dreamkit.priors.t5 import encode_t5
from dreamkit.priors.text import PARTS, encode_clip

TOKENS = 256
"T5 tokens; the model reads as many zeros in their place where it goes without T5."


@dataclass(frozen=True)
class SD3Backbone(AbstractFlowBackbone):
    """`SD3Transformer2DModel` (arXiv 2403.03206): the tokens are those of CLIP, both encoders side by side and filled
    with zeros to T5's width, followed by T5's; the pooled vector is both encoders' projected embeddings."""

    text_parts: ClassVar[tuple[str, ...]] = (*PARTS, "tokenizer_3", "text_encoder_3", "transformer/config.json")
    use_t5: bool = True

    @property
    def channels(self) -> int:
        return self.network.config["in_channels"]

    @property
    def latent_size(self) -> int:
        return self.network.config["sample_size"]

    @property
    def t5_tokens(self) -> int:
        return TOKENS if self.use_t5 and (self.folder / "text_encoder_3").is_dir() else 0

    def encode_text(self, prompts: Sequence[str], device: torch.device, half: bool) -> Conditioning:
        first, pooled = encode_clip(self.folder, "", prompts, device, before_last=True, projected=True)
        second, pooled_2 = encode_clip(self.folder, "_2", prompts, device, before_last=True, projected=True)
        clip = torch.cat([first, second], dim=-1)
        width = self.network.config["joint_attention_dim"]
        if self.t5_tokens:
            t5 = encode_t5(self.folder, "_3", prompts, device, length=self.t5_tokens, half=half)
        else:
            t5 = torch.zeros(len(prompts), TOKENS, width)
        tokens = torch.cat([functional.pad(clip, (0, width - clip.shape[-1])), t5], dim=1)
        return Conditioning(tokens, torch.cat([pooled, pooled_2], dim=-1))

    def velocity(
        self,
        call: Callable[..., Any],
        noised: Float[Tensor, "batch channels rows columns"],
        s: Float[Tensor, " batch"],
        told: Conditioning,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The network takes s in thousandths."""
        return call(
            hidden_states=noised,
            timestep=1000 * s,
            encoder_hidden_states=told.tokens,
            pooled_projections=told.pooled,
            return_dict=False,
        )[0]
