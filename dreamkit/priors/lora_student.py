"""A student of a diffusion network: low-rank changes to its attention, and an embedding of the camera."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.schedule import NoiseSchedule
from dreamkit.priors.student import CAMERA, AbstractStudent

PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
"What changes in each attention; those with `add` are the text's, where an attention treats it apart."

Ask = Callable[[nn.Module, Tensor, Tensor, Conditioning], Tensor]
"How a prior calls a network like its own: network, noised, t, condition; what it says, in float32."


class LoraStudent(AbstractStudent):
    """The prior's network with LoRA (arXiv 2106.09685) on its attention, and the camera added to the level's embedding.

    Source: ProlificDreamer, arXiv 2305.16213; method card 2, networks. Serves UNets and transformers. The network's
    structure is copied and its weights are shared, so a student costs little memory, and what it learns never changes
    the prior. It begins as the prior itself: the low-rank changes and the camera's last layer are zero. The first
    weights are the same in every run. Does not do offloaded networks.
    """

    def __init__(self, network: nn.Module, level: str, ask: Ask, kind: str, schedule: NoiseSchedule, rank: int) -> None:
        """`level`: where in the network its `TimestepEmbedding` is.

        Raises ValueError for a rank below 1, and for a network that is offloaded.
        """
        super().__init__(schedule, kind)
        _check(network, rank)
        # Lazily: peft takes seconds to import.
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        copied: Any = copy.deepcopy(network, {id(p): p for p in (*network.parameters(), *network.buffers())})
        settings = LoraConfig(r=rank, lora_alpha=rank, target_modules=PROJECTIONS, init_lora_weights="gaussian")
        device = next(network.parameters()).device
        with torch.random.fork_rng():
            torch.manual_seed(0)
            copied = inject_adapter_in_model(settings, copied)
            slot = copied.get_submodule(level)
            self.camera = _camera_embedding(slot.linear_2.out_features).to(device)
        slot.register_forward_hook(self.camera.add)
        learnt = {name: p for name, p in copied.named_parameters() if p.requires_grad}
        for p in learnt.values():
            # In float32 whatever the network computes in: steps of 1e-4 vanish in half precision.
            p.data = p.data.to(device, torch.float32)
        self.learnt = nn.ParameterDict({name.replace(".", "/"): p for name, p in learnt.items()})
        # In tuples, so that they are no part of this module: its state is only what it learns.
        self._network = (copied,)
        self._layers = tuple(layer for layer in copied.modules() if isinstance(layer, LoraLayer))
        self._ask = ask

    def _answer(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        camera: Float[Tensor, "batch 16"],
        strength: float,
    ) -> Float[Tensor, "batch *latent"]:
        self.camera.seen, self.camera.strength = camera.float(), strength
        for layer in self._layers:
            layer.set_scale("default", strength)
        return self._ask(self._network[0], noised, t, condition).to(noised.dtype)


class CameraEmbedding(nn.Sequential):
    """Two linear layers from a camera to the width of a level's embedding, which `add` moves by what they say."""

    seen: Float[Tensor, "batch 16"]
    "The cameras of the batch that the network looks at; set before it is called."
    strength: float = 1.0

    def add(self, slot: nn.Module, given: tuple[Tensor | None, ...], embedded: Float[Tensor, "batch width"]) -> Tensor:
        """A forward hook of the module that embeds the level; the sum is in its type."""
        return embedded + (self.strength * self(self.seen)).to(embedded)


def _camera_embedding(width: int) -> CameraEmbedding:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return CameraEmbedding(nn.Linear(CAMERA, width), nn.SiLU(), last)


def _check(network: nn.Module, rank: int) -> None:
    if rank < 1:
        raise ValueError(f"the rank of a student's changes must be at least 1; got {rank}")
    if any(hasattr(module, "_diffusers_hook") for module in network.modules()):
        raise ValueError("a student shares the prior's weights, and these are offloaded; set prior.offload = false")
