"""How toys look: twelve colours, four patterns, one soft light that does not move with the camera."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.vectors import dot, normalize

COLORS = {
    "red": (0.85, 0.12, 0.10),
    "orange": (0.96, 0.52, 0.08),
    "yellow": (0.97, 0.85, 0.15),
    "green": (0.18, 0.62, 0.20),
    "teal": (0.10, 0.68, 0.66),
    "blue": (0.14, 0.30, 0.85),
    "purple": (0.50, 0.18, 0.70),
    "pink": (0.97, 0.52, 0.70),
    "brown": (0.45, 0.26, 0.12),
    "black": (0.10, 0.10, 0.11),
    "white": (0.96, 0.96, 0.95),
    "gray": (0.52, 0.53, 0.55),
}
"Display colours that a caption can name."

FIXED = {
    **COLORS,
    "black": (0.06, 0.06, 0.07),
    "cream": (0.95, 0.88, 0.74),
    "wood": (0.56, 0.37, 0.20),
    "steel": (0.66, 0.69, 0.73),
    "glass": (0.55, 0.78, 0.92),
    "brick": (0.66, 0.28, 0.20),
    "stone": (0.60, 0.58, 0.55),
    "leaf": (0.25, 0.55, 0.18),
    "cocoa": (0.28, 0.15, 0.08),
    "dough": (0.85, 0.64, 0.38),
}
"Display colours of the parts that keep their colour whatever the caption says."

PATTERNS = ("striped", "spotted", "checkered", "metallic")


def second_color(color: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The colour that a pattern alternates with: a pale tint of dark colours, a deep shade of light ones."""
    luma = dot(color, color.new_tensor([0.299, 0.587, 0.114]))
    return torch.where(luma < 0.6, 1 - 0.3 * (1 - color), 0.35 * color)


def patterned(
    points: Float[Tensor, "points 3"], color: Float[Tensor, "3"], pattern: str | None
) -> Float[Tensor, "points 3"]:
    """Albedo of the painted body at object-space `points`; patterns are solid textures with a period of 0.3."""
    if pattern is None or pattern == "metallic":
        return color.expand_as(points)
    if pattern == "striped":
        second = torch.sin(points[:, 1:2] * (2 * math.pi / 0.3)) > 0.2
    elif pattern == "spotted":
        second = (torch.cos(points * (2 * math.pi / 0.32))).sum(dim=-1, keepdim=True) > 1.0
    elif pattern == "checkered":
        cells = torch.floor((points + 0.013) / 0.25).sum(dim=-1, keepdim=True)
        second = cells.remainder(2) > 0.5
    else:
        raise ValueError(f"unknown pattern {pattern!r}; known: {', '.join(PATTERNS)}")
    return torch.where(second, second_color(color), color)


def lit(
    albedo: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    view: Float[Tensor, "points 3"],
    shiny: Float[Tensor, "points 1"],
) -> Float[Tensor, "points 3"]:
    """Display colour under a bright sky: a hemisphere light from above, a faint headlight, a mirror for metal.

    The light is the same from the front and from the back, so that light alone never tells the view.
    `view` points from the surface to the camera; `shiny` is 1 on metal.
    """
    facing = dot(normals, view).clamp(0, 1)
    matte = albedo * (0.60 + 0.26 * normals[:, 1:2] + 0.16 * facing)
    mirror = 2 * dot(normals, view) * normals - view
    sky = torch.sigmoid(9 * (mirror[:, 1:2] - 0.25))
    lamp = normalize(mirror.new_tensor([0.0, 1.0, 0.25])).expand_as(mirror)
    glint = torch.exp(-18 * (1 - dot(mirror, lamp)))
    metal = albedo * (0.48 + 0.46 * sky) + 0.6 * glint
    return torch.lerp(matte, metal, shiny).clamp(0, 1)
