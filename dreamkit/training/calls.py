"""The questions that a run asks its prior, and how those of several runs become one call."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.priors.base import AbstractPrior
from dreamkit.priors.conditioning import Conditioning
from dreamkit.priors.draws import PackedGenerators, Source
from dreamkit.priors.encoding import Encoded


@dataclass(frozen=True)
class AbstractCall(ABC):
    """A question to a prior about one run's views."""

    turn: ClassVar[int]
    "Where runs wait with several kinds of questions, the lowest is answered first: who is behind in a step catches up."
    prior: AbstractPrior

    @property
    @abstractmethod
    def alike(self) -> Hashable:
        """Questions that can be asked at once have this in common."""

    @classmethod
    @abstractmethod
    def ask(cls, calls: Sequence["AbstractCall"]) -> Sequence[object]:
        """One call of the prior for all the questions, which are alike; an answer for each."""


@dataclass(frozen=True)
class Predict(AbstractCall):
    """`AbstractPrior.predict_noise`, without a graph."""

    turn = 0
    noised: Float[Tensor, "batch *latent"]
    t: Int[Tensor, " batch"]
    condition: Conditioning

    @property
    def alike(self) -> Hashable:
        told = self.condition
        steered = told.against is not None
        return Predict, id(self.prior), self.noised.shape[1:], self.noised.dtype, told.tokens.shape[1:], steered

    @classmethod
    def ask(cls, calls: Sequence["Predict"]) -> Sequence[Tensor]:
        noised, t = torch.cat([call.noised for call in calls]), torch.cat([call.t for call in calls])
        answer = calls[0].prior.predict_noise(noised, t, Conditioning.cat([call.condition for call in calls]))
        return answer.split([len(call.noised) for call in calls])


@dataclass(frozen=True)
class Decode(AbstractCall):
    """`AbstractPrior.decode`, without a graph."""

    turn = 1
    latents: Float[Tensor, "batch *latent"]

    @property
    def alike(self) -> Hashable:
        return Decode, id(self.prior), self.latents.shape[1:], self.latents.dtype

    @classmethod
    def ask(cls, calls: Sequence["Decode"]) -> Sequence[Tensor]:
        with torch.no_grad():
            answer = calls[0].prior.decode(torch.cat([call.latents for call in calls]))
        return answer.split([len(call.latents) for call in calls])


@dataclass(frozen=True)
class PullBack(AbstractCall):
    """`Encoded.pull_back`, for some rows of images that were encoded together."""

    turn = 2
    encoded: Encoded
    rows: slice
    gradient: Float[Tensor, "batch *latent"]

    @property
    def alike(self) -> Hashable:
        return PullBack, id(self.encoded)

    @classmethod
    def ask(cls, calls: Sequence["PullBack"]) -> Sequence[Tensor]:
        encoded = calls[0].encoded
        # Rows of a run that gave this step up stay zero.
        gradient = torch.zeros_like(encoded.latents)
        for call in calls:
            gradient[call.rows] = call.gradient
        answer = encoded.pull_back(gradient)
        return [answer[call.rows] for call in calls]


@dataclass(frozen=True)
class AbstractEncode(AbstractCall):
    """Images to be encoded. The last turn, so that every run of a batch begins its step with it."""

    turn = 3
    images: Float[Tensor, "batch *image"]
    generator: Source | None

    @property
    def alike(self) -> Hashable:
        drawn = self.generator is not None
        return type(self), id(self.prior), self.images.shape[1:], self.images.dtype, drawn


@dataclass(frozen=True)
class Encode(AbstractEncode):
    """`AbstractPrior.encode`, without a graph."""

    @classmethod
    def ask(cls, calls: Sequence["Encode"]) -> Sequence[Tensor]:
        images, generator, counts = _joined(calls)
        with torch.no_grad():
            return calls[0].prior.encode(images, generator).split(counts)


@dataclass(frozen=True)
class EncodeApart(AbstractEncode):
    """`AbstractPrior.encode_apart`; each answer is the batch's encoding and the run's own rows of it."""

    @classmethod
    def ask(cls, calls: Sequence["EncodeApart"]) -> Sequence[tuple[Encoded, slice]]:
        images, generator, counts = _joined(calls)
        encoded = calls[0].prior.encode_apart(images, generator)
        ends = [sum(counts[: index + 1]) for index in range(len(counts))]
        return [(encoded, slice(end - count, end)) for end, count in zip(ends, counts, strict=True)]


def _joined(calls: Sequence[AbstractEncode]) -> tuple[Tensor, Source | None, list[int]]:
    counts = [len(call.images) for call in calls]
    sources = [call.generator for call in calls if call.generator is not None]
    generator = PackedGenerators.cat(sources, counts) if sources else None
    return torch.cat([call.images for call in calls]), generator, counts
