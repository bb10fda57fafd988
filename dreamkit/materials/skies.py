"""The environments in the box, made by formula: no photograph, no licence.

`python -m dreamkit.materials.skies FOLDER` writes them as .hdr files; that is how `assets/environments/` was made. Each
is scaled to a mean luminance of 0.6 (night: 0.35), so that a white ball shows as light grey.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dreamkit.materials.environment import texel_areas, texel_directions
from dreamkit.materials.radiance_file import write_hdr
from dreamkit.vectors import dot, normalize

ROWS = 64
RGB = tuple[float, float, float]


def studio() -> Float[Tensor, "rows columns 3"]:
    """A grey room: a large soft box above left of the camera, a strip light on the right, a lamp behind."""
    room = _between((0.22, 0.21, 0.20), (0.45, 0.45, 0.46))
    return (
        room
        + _disc((-0.6, 0.7, 0.8), 24, (5.0, 4.9, 4.7))
        + _disc((1, 0.2, 0.2), 14, (2.6, 2.7, 3.0))
        + _disc((0.3, 0.5, -1), 16, (2.5, 2.4, 2.2))
    )


def overcast() -> Float[Tensor, "rows columns 3"]:
    """A white sky, three times as bright at the zenith as at the horizon (CIE), over grey ground."""
    up = texel_directions(ROWS)[..., 1:2]
    sky = torch.tensor([0.92, 0.97, 1.05]) * (1 + 2 * up.clamp_min(0)) / 3
    return torch.where(up > 0, sky, torch.tensor([0.16, 0.15, 0.13]))


def sunset() -> Float[Tensor, "rows columns 3"]:
    """A low orange sun in front on the right, a sky from orange to blue, dark warm ground."""
    up = texel_directions(ROWS)[..., 1:2]
    sky = torch.lerp(torch.tensor([1.3, 0.62, 0.35]), torch.tensor([0.22, 0.34, 0.7]), up.clamp(0, 1) ** 0.5)
    land = torch.where(up > 0, sky, torch.tensor([0.16, 0.11, 0.09]))
    sun = _disc((0.8, 0.22, 0.7), 7, (48.0, 26.0, 11.0)) + _disc((0.8, 0.22, 0.7), 30, (0.9, 0.45, 0.18))
    return land + sun * (up > 0)


def window() -> Float[Tensor, "rows columns 3"]:
    """A dim warm room with one tall window of cool daylight on the left."""
    directions = texel_directions(ROWS)
    room = _between((0.14, 0.10, 0.07), (0.2, 0.19, 0.18))
    x, y, z = directions.unbind(dim=-1)
    # The plane x = -1 of the room's wall, in which the window is a rectangle with a cross.
    across, above = z / (-x).clamp_min(1e-3), y / (-x).clamp_min(1e-3)
    pane = (x < 0) & (across.abs() < 0.6) & (above > -0.3) & (above < 0.9)
    bars = (across.abs() < 0.04) | ((above - 0.3).abs() < 0.04)
    return room + (pane & ~bars).unsqueeze(-1) * torch.tensor([5.0, 5.6, 6.6])


def night() -> Float[Tensor, "rows columns 3"]:
    """A dark blue town: three coloured signs and a small warm lamp overhead."""
    town = _between((0.05, 0.04, 0.05), (0.04, 0.06, 0.12))
    signs = _disc((1, 0.1, 0.5), 13, (5.0, 0.7, 2.4)) + _disc((-1, 0.25, 0.3), 13, (0.5, 2.6, 4.6))
    return town + signs + _disc((0, 0.3, -1), 12, (1.0, 3.4, 1.2)) + _disc((0.1, 1, 0.3), 10, (9.0, 6.4, 3.6))


SKIES: dict[str, Callable[[], Float[Tensor, "rows columns 3"]]] = {
    made.__name__: made for made in (studio, overcast, sunset, window, night)
}


def sky(name: str) -> Float[Tensor, "rows columns 3"]:
    """The named environment at its exposure, linear light, 64 by 128 texels. Raises KeyError for an unknown name."""
    light = SKIES[name]()
    luminance = light @ torch.tensor([0.2126, 0.7152, 0.0722])
    area = texel_areas(ROWS)[:, None] / (4 * torch.pi)
    return light * ((0.35 if name == "night" else 0.6) / (luminance * area).sum())


def _between(below: RGB, above: RGB) -> Float[Tensor, "rows columns 3"]:
    """A smooth change from straight down to straight up."""
    return torch.lerp(torch.tensor(below), torch.tensor(above), (texel_directions(ROWS)[..., 1:2] + 1) / 2)


def _disc(towards: RGB, degrees: float, light: RGB) -> Float[Tensor, "rows columns 3"]:
    """A round light with a soft rim, `degrees` from its middle to half its brightness."""
    directions = texel_directions(ROWS)
    cosine = dot(directions, normalize(torch.tensor(towards))[None, None])
    angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
    return torch.sigmoid((degrees - angle) / (0.12 * degrees)) * torch.tensor(light)


if __name__ == "__main__":
    for name in SKIES:
        write_hdr(sky(name), Path(sys.argv[1]) / f"{name}.hdr")
