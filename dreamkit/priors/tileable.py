"""Pictures whose right edge continues at the left one and whose bottom continues at the top: textures that repeat."""

from torch import nn


def make_tileable(network: nn.Module) -> int:
    """Let every padded 2D convolution of a network wrap around, in place; returns how many there are.

    Convolutions, group norms and attention without positions then commute with rolls of their input, which is all that
    "feature rolling" (StableMaterials, arXiv 2406.09293) brings to networks that see the whole picture at once
    (card representations 4.6). Layers that pad by hand, as the downsampling of diffusers' image encoder, stay as they
    are. Raises ValueError for a network without padded convolutions.
    """
    found = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and any(layer.padding)]
    if not found:
        raise ValueError(f"{type(network).__name__} has no padded 2D convolution that could wrap around")
    for layer in found:
        # `padding` in words ("same") is worked out by the layer itself, in this mode too.
        layer.padding_mode = "circular"
    return len(found)
