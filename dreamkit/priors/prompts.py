"""Prompts that depend on the camera: "a bear" becomes "a bear, back view" behind the bear (method card 13.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning


class Row(IntEnum):
    """Where each wording of a prompt stands in a `PromptTable`."""

    FRONT = 0
    SIDE = 1
    BACK = 2
    OVERHEAD = 3
    PLAIN = 4
    NEGATIVE = 5
    NULL = 6


@dataclass(frozen=True)
class ViewPrompts:
    """One prompt as it is worded for each view; written by hand or by a `ViewWording`."""

    plain: str
    front: str
    side: str
    back: str
    overhead: str
    negative: str = ""
    "What the model is guided away from; empty for the unconditional prediction."

    def rows(self) -> list[str]:
        """The texts in the order of `Row`."""
        return [self.front, self.side, self.back, self.overhead, self.plain, self.negative, ""]


@dataclass(frozen=True)
class ViewWording:
    """The words that name a view."""

    front: str = "front view"
    side: str = "side view"
    back: str = "back view"
    overhead: str = "overhead view"
    prepend: bool = False
    '"front view of a bear" instead of "a bear, front view".'
    enabled: bool = True
    "False words all views alike: for rooms, and for objects without a front."

    def prompts(self, text: str, negative: str = "") -> ViewPrompts:
        """The prompt worded for each view."""
        names = (self.front, self.side, self.back, self.overhead)
        if not self.enabled:
            return ViewPrompts(text, *[text] * 4, negative=negative)
        worded = [f"{name} of {text}" if self.prepend else f"{text}, {name}" for name in names]
        return ViewPrompts(text, *worded, negative=negative)


@dataclass(frozen=True)
class PromptTable:
    """Embeddings of all wordings of one or more prompts; prompt p's wording r is row `p * len(Row) + r`."""

    embeddings: Conditioning
    prompts: tuple[ViewPrompts, ...]

    def select(self, owner: Int[Tensor, " views"], row: Row | Int[Tensor, " views"]) -> Conditioning:
        """For each view, the wording `row` of the prompt `owner`."""
        return self.embeddings[owner * len(Row) + row]


def embed_prompts(prior: AbstractPrior, prompts: Sequence[ViewPrompts]) -> PromptTable:
    """Embed every wording once, equal texts together."""
    texts = [text for prompt in prompts for text in prompt.rows()]
    distinct = list(dict.fromkeys(texts))
    index = torch.tensor([distinct.index(text) for text in texts], device=prior.device)
    return PromptTable(prior.embed(distinct)[index], tuple(prompts))


@dataclass(frozen=True)
class ViewRegions:
    """Which wording a camera gets; all angles in degrees.

    Rules in order side, front, back, overhead, the last match wins: overhead above `overhead_above`, front where
    `|azimuth| < within`, back where `|azimuth| > 180 - within`, else side. ProlificDreamer, MVDream and ASD use 30.
    """

    within: float = 45.0
    overhead_above: float = 60.0
    interpolate: bool = False
    "Blend neighbouring wordings by azimuth instead of switching between them (the positive part of Perp-Neg)."

    def rows(self, azimuth: Float[Tensor, " views"], elevation: Float[Tensor, " views"]) -> Int[Tensor, " views"]:
        """The wording of each view, as `Row`."""
        turn = wrap(azimuth).abs()
        row = torch.full_like(turn, Row.SIDE, dtype=torch.long)
        row[turn < self.within] = Row.FRONT
        row[turn > 180 - self.within] = Row.BACK
        row[elevation > self.overhead_above] = Row.OVERHEAD
        return row

    def opposite(self, azimuth: Float[Tensor, " views"], elevation: Float[Tensor, " views"]) -> Int[Tensor, " views"]:
        """The wording that a view should least look like: behind a front view the back, and the front elsewhere."""
        row = self.rows(azimuth, elevation)
        return torch.where(row == Row.FRONT, int(Row.BACK), int(Row.FRONT))

    def condition(
        self,
        table: PromptTable,
        owner: Int[Tensor, " views"],
        azimuth: Float[Tensor, " views"],
        elevation: Float[Tensor, " views"],
    ) -> Conditioning:
        """The embedding of each view's prompt."""
        if not self.interpolate:
            return table.select(owner, self.rows(azimuth, elevation))
        turn = wrap(azimuth).abs() / 90
        overhead = elevation > self.overhead_above
        # Between front and side up to 90 degrees, between side and back beyond; both ends are the same row overhead.
        first = torch.where(turn < 1, int(Row.FRONT), int(Row.SIDE)).masked_fill(overhead, Row.OVERHEAD)
        second = torch.where(turn < 1, int(Row.SIDE), int(Row.BACK)).masked_fill(overhead, Row.OVERHEAD)
        return table.select(owner, first).lerp(table.select(owner, second), torch.where(turn < 1, turn, turn - 1))


def wrap(azimuth: Float[Tensor, " views"]) -> Float[Tensor, " views"]:
    """The same direction in (-180, 180] degrees."""
    return 180 - torch.remainder(180 - azimuth, 360)
