"""Prompts through a model's text encoders, which are loaded for the purpose and released afterwards."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.locate import variant

PARTS = ("model_index.json", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
"Everything that an embedding depends on."


def encode_prompts(folder: Path, prompts: Sequence[str], device: torch.device) -> Conditioning:
    """One row for each prompt, in float32 on the CPU, without time ids.

    Stable Diffusion 1.x and 2.x: last hidden states of one encoder. SDXL: the hidden states before the last of two
    encoders side by side, and the projected embedding of the second (method card 6.2). Warns about prompts that are
    longer than the encoder reads.
    """
    if not (folder / "text_encoder_2").is_dir():
        return Conditioning(encode_clip(folder, "", prompts, device)[0])
    first, _ = encode_clip(folder, "", prompts, device, before_last=True)
    second, pooled = encode_clip(folder, "_2", prompts, device, before_last=True, projected=True)
    tokens = torch.cat([first, second], dim=-1)
    if _zeros_for_empty(folder):
        # SDXL was trained with zeros, and not with the embedding of "", where the caption was dropped.
        written = torch.tensor([float(bool(prompt)) for prompt in prompts])
        tokens, pooled = tokens * written[:, None, None], pooled * written[:, None]
    return Conditioning(tokens, pooled)


def encode_clip(
    folder: Path,
    suffix: str,
    prompts: Sequence[str],
    device: torch.device,
    before_last: bool = False,
    projected: bool = False,
) -> tuple[Float[Tensor, "prompts tokens width"], Float[Tensor, "prompts pooled"]]:
    """Hidden states of `text_encoder{suffix}`, the last or those before, and its one vector for the whole prompt.

    That is the projected embedding of a `CLIPTextModelWithProjection`, or the pooled state of a `CLIPTextModel`.
    """
    from transformers import CLIPTokenizer

    encoder = _load_encoder(folder, suffix, projected).to(device=device, dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}")
    ids, _ = tokenize(tokenizer, prompts, tokenizer.model_max_length)
    with torch.no_grad():
        output = encoder(ids.to(device), output_hidden_states=True)
    hidden = output.hidden_states[-2] if before_last else output.last_hidden_state
    vector = output.text_embeds if projected else output.pooler_output
    return hidden.float().cpu(), vector.float().cpu()


def _load_encoder(folder: Path, suffix: str, projected: bool) -> nn.Module:
    # Lazily: transformers takes seconds to import, and a warm cache never needs it.
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    part = f"text_encoder{suffix}"
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    with quiet():
        return kind.from_pretrained(folder / part, use_safetensors=True, variant=variant(folder, part, half=False))


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar for a file that is read in a moment; whoever reads `Step`s draws their own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def tokenize(
    tokenizer: Any, prompts: Sequence[str], length: int
) -> tuple[Int[Tensor, "prompts tokens"], Int[Tensor, "prompts tokens"]]:
    """Token ids, padded or cut to `length`, and 1 where they are not padding; warns about prompts that are cut."""
    for prompt in prompts:
        count = len(tokenizer(prompt)["input_ids"])
        if count > length:
            warnings.warn(
                f"the prompt {prompt[:60]!r}... has {count} tokens and the text encoder reads {length}: "
                "its end is cut off. Shorten it, or put what matters first",
                stacklevel=2,
            )
    batch = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def _zeros_for_empty(folder: Path) -> bool:
    index = folder / "model_index.json"
    return index.is_file() and bool(json.loads(index.read_text()).get("force_zeros_for_empty_prompt", False))
