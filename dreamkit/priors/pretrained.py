"""What all models from diffusers share: a folder, frozen networks, and prompt embeddings that are cached on disk."""

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dreamkit.names import did_you_mean
from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.cache import embedding_cache
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.locate import locate, variant
from dreamkit.priors.lora_student import LoraStudent
from dreamkit.priors.prediction import to_noise
from dreamkit.priors.vocabulary import Vocabulary

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class AbstractPretrained(AbstractPrior):
    """A prior whose networks diffusers reads from a folder; a final class says which, and how they are called."""

    level: ClassVar[str] = "time_embedding"
    "Where in the network the level is embedded."
    _kind: str
    "What the network predicts."
    _network: nn.Module
    _call: Callable[..., Any]
    "The network, perhaps compiled."

    def __init__(self, model: str, kind: str, *, revision: str | None, device: torch.device | str, dtype: str) -> None:
        """Find the folder. `kind` is the `type` of the final class in a recipe.

        Raises PriorNotFound, UnsafeWeights, and ValueError for an unknown dtype.
        """
        if dtype not in DTYPES:
            raise ValueError(f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)} Known: {', '.join(DTYPES)}")
        self.name = model
        self.dtype = DTYPES[dtype]
        self.folder = locate(model, revision, half=self._half, kind=kind)
        self._device = torch.device(device)
        self._cache = None
        self.vocabulary = Vocabulary.of(self.folder)

    @property
    def device(self) -> torch.device:
        return self._device

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings from the cache on disk; the text encoders are loaded only for prompts that are not in it.

        Raises UnknownWords where the model has a closed vocabulary.
        """
        if self.vocabulary is not None:
            self.vocabulary.check(prompts, self.name)
        rows = {} if self._cache is None else {prompt: self._cache.get(prompt) for prompt in prompts}
        missing = [prompt for prompt in dict.fromkeys(prompts) if rows.get(prompt) is None]
        if missing:
            fresh = self._encode_text(missing)
            for index, prompt in enumerate(missing):
                rows[prompt] = fresh[index : index + 1]
                if self._cache is not None:
                    self._cache.put(prompt, fresh[index : index + 1])
        return Conditioning.cat([row for prompt in prompts if (row := rows[prompt]) is not None]).to(self._device)

    @abstractmethod
    def _encode_text(self, prompts: Sequence[str]) -> Conditioning:
        """Load the text encoders, embed, and let go of them; one row for each prompt, in float32 on the CPU."""

    @property
    def _half(self) -> bool:
        return self.dtype != torch.float32

    def _open_cache(self, parts: Sequence[str], setting: str = "") -> None:
        """Keep embeddings on disk; they depend on the files in `parts` and on what `setting` spells out."""
        self._cache = embedding_cache(self.folder, parts, setting)

    def _config(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing; a model folder in diffusers layout has it. Copy the whole model")
        return json.loads(path.read_text(encoding="utf-8"))

    @abstractmethod
    def _ask(
        self,
        network: Callable[..., Any],
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
    ) -> Float[Tensor, "batch *latent"]:
        """What a network of this prior's structure says, in float32 and of the kind `_kind`."""

    def student(self, rank: int = 4) -> LoraStudent:
        """The network with low-rank changes and a camera; raises ValueError for one that is offloaded."""
        return LoraStudent(self._network, self.level, self._ask, self._kind, self.schedule, rank)

    def features(
        self,
        noised: Float[Tensor, "batch *latent"],
        t: Int[Tensor, " batch"],
        condition: Conditioning,
        differentiable: bool = False,
    ) -> Float[Tensor, "batch features *places"]:
        """What the middle of a UNet says, each place brought to mean 0 and deviation 1; without a UNet, x_t and eps."""
        middle = getattr(self._network, "mid_block", None)
        if middle is None:
            return super().features(noised, t, condition, differentiable)
        said: list[Tensor] = []
        hook = middle.register_forward_hook(lambda module, given, output: said.append(output))
        try:
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                # Not the compiled network, which would not call the hook.
                self._ask(self._network, noised, t, condition)
        finally:
            hook.remove()
        places = said[0].float().movedim(1, -1)
        return functional.layer_norm(places, places.shape[-1:]).movedim(-1, 1)

    def _predict(
        self, noised: Float[Tensor, "batch *latent"], t: Int[Tensor, " batch"], condition: Conditioning
    ) -> Float[Tensor, "batch *latent"]:
        return to_noise(self._kind, self._ask(self._call, noised, t, condition), noised, t, self.schedule)

    def _place(self, network: Any, offload: bool, compiled: bool) -> None:
        """Put the network that predicts where it computes.

        `offload`: it waits in main memory and visits the GPU block by block; raises ValueError without a GPU.
        """
        if offload:
            if self._device.type != "cuda":
                raise ValueError(f"offload moves the network between main memory and a GPU; device is {self._device}")
            network.enable_group_offload(self._device, offload_type="block_level", num_blocks_per_group=1)
        else:
            network.to(self._device)
        self._network = network
        self._call = torch.compile(network) if compiled else network


def load_frozen(kind: Any, folder: Path, part: str, dtype: torch.dtype, half: bool) -> Any:
    """One network of a model folder, in `dtype`, frozen; `half` prefers fp16 files. `kind` is its diffusers class."""
    chosen = variant(folder, part, half)
    network: nn.Module = kind.from_pretrained(folder / part, use_safetensors=True, variant=chosen, torch_dtype=dtype)
    return network.requires_grad_(False).eval()


def to_pixels(images: Float[Tensor, "batch height width 3"], size: int) -> Float[Tensor, "batch 3 size size"]:
    """Display images as networks see them: in [-1, 1], channels first, resized (bilinear, antialiased) to `size`."""
    pixels = images.movedim(-1, 1)
    if pixels.shape[-2:] != (size, size):
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return 2 * pixels - 1
