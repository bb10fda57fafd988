"""Light on a batch of views: a turned environment for each, and lamps in it."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.materials.environment import look_up, resized, turned
from dreamkit.materials.ggx import Reflectance, facing, frame, reflected_share, spiral
from dreamkit.materials.lights import Lights
from dreamkit.materials.monte_carlo import Samples, reflect_radiance
from dreamkit.materials.radiance_file import read_hdr
from dreamkit.materials.split_sum import PrefilteredMaps, prefilter, reflect_maps
from dreamkit.names import did_you_mean, existing
from dreamkit.vectors import dot

LAMP_SAMPLES = 16
"Directions into the disc that a spherical lamp fills."


@dataclass(frozen=True)
class Lamps:
    """Shining balls; radius 0 makes a point light."""

    position: Float[Tensor, "views lamps 3"]
    power: Float[Tensor, "views lamps 3"]
    "Radiant intensity: a lamp at distance d lights a surface that faces it with `power / d^2`."
    radius: Float[Tensor, "views lamps"]


@dataclass(frozen=True)
class Illumination(Lights):
    """The light on each view."""

    radiance: Float[Tensor, "maps rows columns 3"]
    "Environments, linear light."
    filtered: PrefilteredMaps
    "The same, ready for the split-sum."
    which: Int[Tensor, " views"]
    "The environment of each view."
    turn: Float[Tensor, " views"]
    "Degrees that it is turned by, about +Y and as cameras orbit."
    lamps: Lamps | None = None
    shift: Float[Tensor, "views 2"] | None = None
    "Moves the Monte-Carlo estimator's directions; uniform draws make it unbiased."

    def at(self, view: int) -> "Illumination":
        """The light on one view; a light on a single view serves all."""
        one = slice(0, 1) if len(self.which) == 1 else slice(view, view + 1)
        lamps = self.lamps and Lamps(*(value[one] for value in vars(self.lamps).values()))
        shift = None if self.shift is None else self.shift[one]
        return replace(self, which=self.which[one], turn=self.turn[one], lamps=lamps, shift=shift)

    def to(self, device: torch.device | str) -> "Illumination":
        filtered = PrefilteredMaps(self.filtered.irradiance.to(device), self.filtered.glossy.to(device))
        lamps = self.lamps and Lamps(*(value.to(device) for value in vars(self.lamps).values()))
        shift = None if self.shift is None else self.shift.to(device)
        return Illumination(
            self.radiance.to(device), filtered, self.which.to(device), self.turn.to(device), lamps, shift
        )


def illuminate(
    surface: Reflectance,
    position: Float[Tensor, "points 3"],
    normal: Float[Tensor, "points 3"],
    towards: Float[Tensor, "points 3"],
    view: Int[Tensor, " points"],
    light: Illumination,
    samples: Samples | None = None,
) -> Float[Tensor, "points 3"]:
    """Linear radiance that points show to the viewers of `view`, who are in direction `towards`.

    Environments by the split-sum, or by Monte-Carlo where `samples` are given; lamps always by sampling. Nothing casts
    a shadow.
    """
    normal = facing(normal, towards)
    which, turn = light.which[view], light.turn[view]
    inside, viewer = turned(normal, turn), turned(towards, turn)
    if samples is None:
        shown = reflect_maps(surface, inside, viewer, light.filtered, which)
    else:

        def radiance(directions: Float[Tensor, "points samples 3"]) -> Float[Tensor, "points samples 3"]:
            return look_up(light.radiance, which[:, None].expand(directions.shape[:-1]), directions)

        shift = None if light.shift is None else light.shift[view]
        shown = reflect_radiance(surface, inside, viewer, radiance, samples, shift)
    if light.lamps is None:
        return shown
    return shown + reflect_lamps(surface, position, normal, towards, light.lamps, view)


def reflect_lamps(
    surface: Reflectance,
    position: Float[Tensor, "points 3"],
    normal: Float[Tensor, "points 3"],
    towards: Float[Tensor, "points 3"],
    lamps: Lamps,
    view: Int[Tensor, " points"],
) -> Float[Tensor, "points 3"]:
    """Light of each view's lamps, `sum_k mean_j f(l_kj) n.l_kj power_k / d_k^2 2 / (1 + sqrt(1 - s_k))`.

    `s = (radius / d)^2`: a ball of that radius fills a cone of solid angle `2 pi (1 - sqrt(1 - s))`, in which 16
    directions are looked at; for a point light they are all the same. A lamp that a point is inside of is at its rim.
    """
    total = torch.zeros_like(position)
    for k in range(lamps.position.shape[1]):
        way = lamps.position[view, k] - position
        distance = way.norm(dim=-1, keepdim=True).maximum(lamps.radius[view, k, None]).clamp_min(1e-6)
        rim = (1 - (lamps.radius[view, k, None] / distance).square()).clamp_min(0).sqrt()
        light = _cone(way / way.norm(dim=-1, keepdim=True).clamp_min(1e-6), rim)
        wide = Reflectance(*(value[:, None] for value in (surface.base_color, surface.metallic, surface.roughness)))
        share = reflected_share(wide, normal[:, None], towards[:, None], light)
        mean = (share * dot(normal[:, None], light).clamp_min(0)).mean(dim=1)
        total = total + mean * lamps.power[view, k] / distance.square() * 2 / (1 + rim)
    return total


def _cone(axis: Float[Tensor, "points 3"], rim: Float[Tensor, "points 1"]) -> Float[Tensor, "points samples 3"]:
    """Directions spread evenly over the cone around each axis whose rim has this cosine."""
    draw = spiral(LAMP_SAMPLES, axis.device).to(axis)
    cosine = 1 - draw[None, :, :1] * (1 - rim[:, None])
    sine = (1 - cosine.square()).clamp_min(0).sqrt()
    azimuth = 2 * torch.pi * draw[None, :, 1:]
    axes = torch.stack([*frame(axis), axis], dim=-2)
    return torch.cat([sine * azimuth.cos(), sine * azimuth.sin(), cosine], dim=-1) @ axes


def environment_path(name: str) -> Path:
    """The .hdr file of an environment: one in the box, or a path. Raises ValueError for a name that is neither."""
    package = Path(__file__).resolve().parents[1]
    folders = [root / "assets" / "environments" for root in (package, package.parent)]
    for text in (*(str(folder / f"{name}.hdr") for folder in folders), name):
        if (place := existing(text)) is not None and place.is_file():
            return place
    known = sorted({path.stem for folder in folders for path in folder.glob("*.hdr")})
    raise ValueError(
        f"there is no environment {name!r}{did_you_mean(name, known)} In the box: {', '.join(known)}; "
        f"any Radiance .hdr file can be named by its path"
    )


@cache
def load_environments(
    names: tuple[str, ...], rows: int = 64
) -> tuple[Float[Tensor, "maps rows columns 3"], PrefilteredMaps]:
    """The named environments at one size, and the same prefiltered. Raises ValueError for unknown or broken ones."""
    radiance = torch.stack([resized(read_hdr(environment_path(name)), rows) for name in names])
    return radiance, prefilter(radiance)


def environment_light(name: str = "studio", turn: float = 0.0, rows: int = 64) -> Illumination:
    """One environment on one view: what previews are lit by."""
    radiance, filtered = load_environments((name,), rows)
    return Illumination(radiance, filtered, torch.zeros(1, dtype=torch.long), torch.tensor([turn]))
