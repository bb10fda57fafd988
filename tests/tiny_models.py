"""Random diffusion models of a few thousand parameters, saved in the layout of the real ones."""

import json
from pathlib import Path

import torch

VOCABULARY = {
    "kinds": ["bear", "mug"],
    "colors": ["red", "blue"],
    "patterns": ["striped"],
    "views": ["front view", "side view", "back view", "overhead view"],
    "words": ["a", "bear", "mug", "red", "blue", "striped", "front", "side", "back", "overhead", "view"],
}


def save_tiny_model(folder: Path, kind: str = "sd", prediction: str = "epsilon", whitened: bool = False) -> Path:
    """A pipeline of the kind "sd" or "sdxl" with random weights; 16-pixel images, latents of 4 x 8 x 8."""
    from diffusers import DDPMScheduler

    torch.manual_seed(0)
    large = kind == "sdxl"
    _unet(large).save_pretrained(folder / "unet")
    _vae(whitened).save_pretrained(folder / "vae")
    DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction, clip_sample=False
    ).save_pretrained(folder / "scheduler")
    for suffix in ("", "_2") if large else ("",):
        _save_text_encoder(folder, suffix)
    name = "StableDiffusionXLPipeline" if large else "StableDiffusionPipeline"
    index = {"_class_name": name, "force_zeros_for_empty_prompt": large}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _unet(large: bool):
    from diffusers import UNet2DConditionModel

    # SDXL adds the pooled embedding (16) and six time ids of width 8 to the time embedding.
    extra = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
    }
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=8,
        cross_attention_dim=32 if large else 16,
        **(extra if large else {}),
    )


def _vae(whitened: bool):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        norm_num_groups=4,
        sample_size=16,
        latents_mean=[0.1, -0.2, 0.3, 0.0] if whitened else None,
        latents_std=[0.5, 1.0, 2.0, 4.0] if whitened else None,
        scaling_factor=1.0 if whitened else 0.18215,
    )


def _save_text_encoder(folder: Path, suffix: str) -> None:
    tokenizer, encoder = clip_text(projected=bool(suffix))
    tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
    encoder.save_pretrained(folder / f"text_encoder{suffix}")


def clip_text(projected: bool = False):
    """A tokenizer of letters and an encoder of width 16."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz,0123456789"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=len(tokens) - 2,
        eos_token_id=len(tokens) - 1,
    )
    return tokenizer, (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def save_tiny_clip(folder: Path) -> Path:
    """A random CLIP of width 8 with the toybox prior's tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    words = _save_toybox_tokenizer(folder)
    text = {"vocab_size": len(words), "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id, "max_position_embeddings": 77, "projection_dim": 4}  # fmt: skip
    vision = {"image_size": 16, "patch_size": 8, "projection_dim": 4} | _NARROW
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text | _NARROW, vision_config=vision, projection_dim=4)).save_pretrained(folder)
    return folder


def save_tiny_reward(folder: Path, width: int = 8) -> Path:
    """A random BLIP of width 8 with a head of two layers that reads `width` features."""
    from safetensors.torch import save_file
    from transformers import BlipConfig, BlipForImageTextRetrieval

    words = _save_toybox_tokenizer(folder)
    text = {"vocab_size": len(words), "bos_token_id": words.bos_token_id, "pad_token_id": words.pad_token_id,
            "encoder_hidden_size": 8, "max_position_embeddings": 40, "initializer_range": 0.5}  # fmt: skip
    # BLIP's own range for vision is 1e-10, with which all pictures are the same.
    vision = {"image_size": 16, "patch_size": 8, "initializer_range": 0.5} | _NARROW
    torch.manual_seed(0)
    config = BlipConfig(text_config=text | _NARROW, vision_config=vision, image_text_hidden_size=4)
    BlipForImageTextRetrieval(config).save_pretrained(folder)
    head = {"layers.0.weight": torch.randn(4, width), "layers.0.bias": torch.randn(4),
            "layers.2.weight": torch.randn(1, 4), "layers.2.bias": torch.randn(1)}  # fmt: skip
    save_file(head, folder / "reward.safetensors")
    return folder


_NARROW = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def _save_toybox_tokenizer(folder: Path):
    from transformers import CLIPTokenizer

    from dreamkit.priors.locate import locate

    words = CLIPTokenizer.from_pretrained(locate("toybox") / "tokenizer")
    words.save_pretrained(folder)
    return words
