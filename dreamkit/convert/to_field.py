"""Fields from surfaces and Gaussians, which have no density that a field could be compared with point by point."""

from dataclasses import dataclass, field
from typing import ClassVar

from dreamkit.convert.pictures import Pictures, falling
from dreamkit.representations.base import AbstractField, AbstractShape, AbstractSurface
from dreamkit.representations.gaussians import Gaussians
from dreamkit.representations.rates import Rates


def _rates() -> Rates:
    return Rates(encoding=falling(0.02), networks=falling(0.005))


@dataclass(frozen=True)
class ToField(Pictures):
    """`Pictures` for fields: what a NeRF does with photographs, with as many views as it likes.

    Gaussians answer for a density too (card 1.9), but not for the one that their splatting shows, so they are taught by
    pictures as well; name `by=PVD()` for the other way. Source: method card representations 1.9, step 4, and 1.10.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractSurface, Gaussians)
    makes: ClassVar[tuple[type[AbstractShape], ...]] = (AbstractField,)
    rank: ClassVar[int] = -1

    rates: Rates = field(default_factory=_rates)
