"""What an image model is told about each view of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """What the model is told about each view: one row for a view, so that a batch may mix prompts.

    The optional parts are present in all rows or in none.
    """

    tokens: Float[Tensor, "views tokens width"]
    "Text encoder states that cross-attention reads."
    pooled: Float[Tensor, "views pooled"] | None = None
    "One vector for the whole prompt (SDXL)."
    time_ids: Float[Tensor, "views ids"] | None = None
    "SDXL's micro-conditions: original size, crop corner, target size; each (height, width), in pixels."
    against: Float[Tensor, "views tokens width"] | None = None
    "States that cross-attention reads and steers away from; `steered` adds them."
    away: Float[Tensor, " views"] | None = None
    "How strongly it does."

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def __getitem__(self, index: slice | Sequence[int] | Int[Tensor, " selected"]) -> "Conditioning":
        return self._map(lambda part: part[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Conditioning":
        return self._map(lambda part: part.to(device=device, dtype=dtype))

    def repeat(self, times: int) -> "Conditioning":
        """The same rows again, `times` in all: rows 0..n-1, then 0..n-1, ..."""
        return self._map(lambda part: part.repeat(times, *[1] * (part.ndim - 1)))

    def lerp(self, other: "Conditioning", weight: Float[Tensor, " views"]) -> "Conditioning":
        """`(1 - w) self + w other`, with one weight for each row."""
        _check_alike([self, other])
        mixed = []
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            w = weight.to(mine).view(-1, *[1] * (mine.ndim - 1))
            mixed.append(mine + w * (theirs - mine))
        return self._with(mixed)

    def steered(self, against: Float[Tensor, "views tokens width"], away: float) -> "Conditioning":
        """The same, read by `Z+ - away Z-` in every cross-attention (arXiv 2412.02687), Z- made of `against`.

        Where rows are joined with others that are not steered, those get a strength of 0, which changes nothing.
        """
        return replace(self, against=against, away=against.new_full((len(against),), away))

    @staticmethod
    def cat(conditions: Sequence["Conditioning"]) -> "Conditioning":
        """All rows, one after the other; raises ValueError when they are not of one kind."""
        if any(condition.against is not None for condition in conditions):
            conditions = [c if c.against is not None else c.steered(c.tokens, 0.0) for c in conditions]
        _check_alike(conditions)
        columns = zip(*(condition._parts() for condition in conditions), strict=True)
        return conditions[0]._with([torch.cat(column) for column in columns])

    def _parts(self) -> list[Tensor]:
        parts = (getattr(self, field.name) for field in fields(self))
        return [part for part in parts if part is not None]

    def _with(self, parts: Sequence[Tensor]) -> "Conditioning":
        rest = iter(parts)
        present = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        return replace(self, **{name: next(rest) for name in present})

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        return self._with([change(part) for part in self._parts()])


def _check_alike(conditions: Sequence[Conditioning]) -> None:
    parts = [[getattr(condition, field.name) for field in fields(condition)] for condition in conditions]
    shapes = [[None if part is None else tuple(part.shape[1:]) for part in row] for row in parts]
    if not shapes:
        raise ValueError("there is nothing to concatenate: give at least one Conditioning")
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"conditionings of different models do not mix; row shapes are {shapes}")
