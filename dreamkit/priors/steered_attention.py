"""Cross-attention that steers away from other text: `Z+ - alpha Z-`, around whatever computes the attention."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.priors.conditioning import Conditioning


class SteeredAttention:
    """An attention processor of diffusers that asks another one twice (arXiv 2412.02687; method card 12.7).

    The projection W, b after the attention is affine, hence `W (Z+ - alpha Z-) + b = y+ - alpha (y- - b)` with the
    outputs `y = W Z + b`. So it needs to know nothing of how the inner processor works: fused, sliced, or with the
    low-rank changes of a student. Costs the second attention with its queries and its projection, in each of the
    cross-attentions; the paper's +1.9 % is without those.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch positions width"],
        encoder_hidden_states: Float[Tensor, "batch tokens text"] | None = None,
        attention_mask: Tensor | None = None,
        against: Float[Tensor, "batch tokens text"] | None = None,
        away: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch positions width"]:
        """The inner attention; where it reads text and there is something to steer away from, the difference."""
        toward = self.inner(attn, hidden_states, encoder_hidden_states, attention_mask)
        if encoder_hidden_states is None or against is None or away is None:
            return toward
        off = self.inner(attn, hidden_states, against, attention_mask)
        nothing = attn.to_out[0](hidden_states.new_zeros(1, 1, attn.inner_dim))
        return toward - away.view(-1, 1, 1) * (off - nothing)


def steering_arguments(network: Any, told: Conditioning) -> dict[str, Tensor] | None:
    """What a UNet's attention is told of steering; None where there is none.

    The first time, it puts a `SteeredAttention` around each attention of the network; raises TypeError where these are
    of another structure.
    """
    if told.against is None or told.away is None:
        return None
    processors = network.attn_processors
    if not any(isinstance(processor, SteeredAttention) for processor in processors.values()):
        _check(network)
        # Self-attention too: it is handed the same arguments, and warns about those that it does not know.
        network.set_attn_processor({name: SteeredAttention(inner) for name, inner in processors.items()})
    return {"against": told.against, "away": told.away}


def _check(network: nn.Module) -> None:
    attentions = [module for module in network.modules() if hasattr(module, "set_processor")]
    plain = all(
        not module.residual_connection and module.rescale_output_factor == 1 and module.added_kv_proj_dim is None
        for module in attentions
    )
    if not attentions or not plain or getattr(network, "encoder_hid_proj", None) is not None:
        raise TypeError(
            "negative-away attention needs a UNet with plain cross-attention, as Stable Diffusion and SDXL have; "
            f"this {type(network).__name__} has attention of another structure. Choose another shaping"
        )
