"""Which steps lead from one kind of shape to another: the shortest way through the converters of this folder."""

from collections import deque
from dataclasses import dataclass

from dreamkit.construct import options, type_name
from dreamkit.convert.base import AbstractConverter
from dreamkit.names import did_you_mean
from dreamkit.representations.base import AbstractShape


class NoRoute(ValueError):
    """No chain of converters leads there; the message says what can be reached."""


@dataclass(frozen=True)
class Hop:
    """One conversion on the way."""

    converter: type[AbstractConverter]
    target: type[AbstractShape]


def kinds() -> dict[str, type[AbstractShape]]:
    """Every kind of shape by its recipe name (`hash_field`, ...)."""
    return options(AbstractShape)


def kind(name: str) -> type[AbstractShape]:
    """The kind that a name means: `voxel_field`, or short `voxel`. Raises ValueError for names that mean none."""
    known = kinds()
    found = known.get(name) or known.get(f"{name}_field")
    if found is None:
        raise ValueError(f"unknown kind of shape {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}")
    return found


def find_way(
    source: type[AbstractShape], target: type[AbstractShape], by: type[AbstractConverter] | None = None
) -> tuple[Hop, ...]:
    """`find_route`, on which a converter that is named has a part: one that makes a kind out of itself comes last.

    Raises NoRoute where it has none.
    """
    way = find_route(source, target, by)
    if by is None or any(hop.converter is by for hop in way):
        return way
    if by.joins(target, target):
        return (*way, Hop(by, target))
    raise NoRoute(
        f"converter: {type_name(by)} has no part in making {type_name(target)} of {type_name(source)}, which is done "
        f"by {' and '.join(type_name(hop.converter) for hop in way)}; leave it out, or name another"
    )


def find_route(
    source: type[AbstractShape], target: type[AbstractShape], by: type[AbstractConverter] | None = None
) -> tuple[Hop, ...]:
    """The shortest chain of conversions; `by` is taken wherever it joins two kinds, else the lowest rank.

    A kind is converted to itself where a converter does that (a change of size). Raises NoRoute.
    """
    converters = sorted(options(AbstractConverter).values(), key=lambda c: (c is not by, c.rank, c.__name__))
    shapes = list(kinds().values())
    queue: deque[tuple[type[AbstractShape], tuple[Hop, ...]]] = deque([(source, ())])
    seen: set[type[AbstractShape]] = set()
    while queue:
        here, way = queue.popleft()
        if here is target and way:
            return way
        for there in shapes:
            step = next((c for c in converters if c.joins(here, there)), None)
            # The target may be the start; no other kind is visited twice.
            if step is not None and there not in seen:
                seen.add(there)
                queue.append((there, (*way, Hop(step, there))))
    reached = ", ".join(sorted(type_name(shape) for shape in seen)) or "nothing"
    raise NoRoute(f"no converter leads from {type_name(source)} to {type_name(target)}; it reaches {reached}")
