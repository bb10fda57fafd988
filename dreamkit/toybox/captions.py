"""The small language of the toy world: `a [pattern] [colour] KIND[, VIEW]`.

Every kind has one colour that no training caption pairs it with; those held-out pairs measure composition.
"""

import re
from dataclasses import dataclass

import torch

from dreamkit.toybox.paint import COLORS, PATTERNS
from dreamkit.toybox.world import KINDS, Look

VIEWS = ("front view", "side view", "back view", "overhead view")


@dataclass(frozen=True)
class Subject:
    """What a caption speaks of."""

    kind: str
    look: Look

    def caption(self, view: str | None = None, say_color: bool = True) -> str:
        """The sentence that names the subject, with its view where given."""
        words = [word for word in (self.look.pattern, self.look.color if say_color else None, self.kind) if word]
        article = "an" if words[0][0] in "aeiou" else "a"
        return f"{article} {' '.join(words)}" + (f", {view}" if view else "")


def held_out(kind: str) -> str:
    """The colour that training captions never pair with this kind."""
    # Steps of five through twelve colours spread the held-out pairs evenly over both lists.
    return tuple(COLORS)[(list(KINDS).index(kind) * 5 + 1) % len(COLORS)]


def view_word(azimuth: float, elevation: float) -> str:
    """The view that a camera sees: overhead above 60 degrees, else front within 45, back beyond 135, else side."""
    if elevation > 60:
        return VIEWS[3]
    turn = abs((azimuth + 180) % 360 - 180)
    return VIEWS[0] if turn < 45 else VIEWS[2] if turn > 135 else VIEWS[1]


def parse(prompt: str) -> Subject:
    """The subject of a toy-world prompt.

    Raises ValueError where the prompt names no known kind, or no colour.
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    kinds = [word for word in words if word in KINDS]
    colors = [word for word in words if word in COLORS]
    patterns = [word for word in words if word in PATTERNS]
    if len(kinds) != 1 or len(colors) != 1:
        raise ValueError(
            f"the judge needs a prompt with one toy-world kind and one colour, such as 'a red mug'; got {prompt!r}"
        )
    return Subject(kinds[0], Look(colors[0], patterns[0] if patterns else None))


def sample_subject(generator: torch.Generator) -> Subject:
    """A random subject: half of them plain, the others with one of the patterns."""
    kind, color = _choice(tuple(KINDS), generator), _choice(tuple(COLORS), generator)
    plain = torch.rand((), generator=generator) < 0.5
    return Subject(kind, Look(color, None if plain else _choice(PATTERNS, generator)))


def vocabulary() -> list[str]:
    """Every word that a caption can contain."""
    views = {word for view in VIEWS for word in view.split()}
    return sorted({"a", "an", *KINDS, *COLORS, *PATTERNS, *views})


def _choice(options: tuple[str, ...], generator: torch.Generator) -> str:
    return options[int(torch.randint(len(options), (), generator=generator))]
