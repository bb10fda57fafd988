"""What a file's material says beside its base colour: roughness, metallic, occlusion and the normal map."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from trimesh.visual.material import Material, PBRMaterial

LARGEST = 8192 * 8192
"Pixels of an image; as numbers they take 0.8 GB. A file of some kilobytes can claim more."
Maps = dict[str, Any]
"Arguments of a Mesh: `roughness`, `metallic`, and `orm` and `normal_map` where there are textures."


def read_maps(material: Material, folder: Path) -> Maps:
    """The material's numbers and textures; `folder` is where an OBJ's grey images lie.

    Factors are multiplied into their texture, so that a Mesh's textures hold the values themselves. Raises ValueError
    for textures of unequal size, and for images that are named outside the folder or cannot be read.
    """
    return _gltf_maps(material) if isinstance(material, PBRMaterial) else _mtl_maps(material, folder)


def _gltf_maps(material: PBRMaterial) -> Maps:
    # Left out means 1, as the specification says.
    roughness, metallic = (
        1.0 if factor is None else float(factor) for factor in (material.roughnessFactor, material.metallicFactor)
    )
    maps: Maps = {"roughness": roughness, "metallic": metallic}
    if material.normalTexture is not None:
        maps["normal_map"] = pixels(material.normalTexture)
    if material.metallicRoughnessTexture is None:
        return maps
    orm = pixels(material.metallicRoughnessTexture) * torch.tensor([1.0, roughness, metallic])
    occlusion = torch.ones_like(orm[..., :1])
    if material.occlusionTexture is not None:
        occlusion = _same_size(pixels(material.occlusionTexture), orm)[..., :1]
    return maps | {"orm": torch.cat([occlusion, orm[..., 1:]], dim=-1)}


def _mtl_maps(material: Material, folder: Path) -> Maps:
    said: dict[str, list[str]] = getattr(material, "kwargs", {})
    numbers = {name: float(said[key][0]) if key in said else missing for name, key, missing in _NUMBERS}
    found = {key: _image(said[key], folder) for key in ("map_pr", "map_pm", "norm") if key in said}
    maps: Maps = dict(numbers)
    if "norm" in found:
        maps["normal_map"] = found["norm"]
    grey = [found[key][..., :1] for key in ("map_pr", "map_pm") if key in found]
    if not grey:
        return maps
    # A value without an image of its own is the same everywhere.
    roughness, metallic = (
        _same_size(found[key][..., :1], grey[0]) if key in found else torch.full_like(grey[0], numbers[name])
        for key, name in (("map_pr", "roughness"), ("map_pm", "metallic"))
    )
    return maps | {"orm": torch.cat([torch.ones_like(roughness), roughness, metallic], dim=-1)}


_NUMBERS = (("roughness", "pr", 1.0), ("metallic", "pm", 0.0))


def _image(words: list[str], folder: Path) -> Float[Tensor, "height width 3"]:
    name = " ".join(words)
    path = (folder / name).resolve()
    if folder.resolve() not in path.parents:
        raise ValueError(f"the material names the image {name!r}, which lies outside of {folder}; copy it there")
    try:
        return pixels(Image.open(path))
    except OSError as error:
        raise ValueError(f"the material names the image {name!r}, which cannot be read: {error}") from error


def pixels(image: Image.Image) -> Float[Tensor, "height width 3"]:
    """An image's colours; raises ValueError before it is unpacked, where it would fill the memory."""
    if image.width * image.height > LARGEST:
        raise ValueError(
            f"a texture of {image.width} x {image.height} pixels is too large; at most {LARGEST:,} are read"
        )
    return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255


def _same_size(image: Tensor, other: Tensor) -> Tensor:
    if image.shape[:2] != other.shape[:2]:
        raise ValueError(
            f"the material's textures have different sizes, {tuple(image.shape[:2])} and {tuple(other.shape[:2])}; "
            "scale them to one size"
        )
    return image
