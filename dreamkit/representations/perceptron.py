"""The small networks inside fields and backgrounds."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Linear layers without offsets, ReLU between them, nothing after the last.

    `sizes` are the widths from input to output. Weights start uniform in `+-gain/sqrt(inputs)`, drawn from `generator`
    (never from torch's global one); a gain of sqrt(6) keeps variances from layer to layer (He et al., arXiv
    1502.01852), 1 makes outputs small. Without offsets a zero input gives zero output, so a fresh field is its blob.
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator, gain: float = 1.0) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a Perceptron needs at least two positive sizes, input and output; got {list(sizes)}")
        self.weights = nn.ParameterList(
            nn.Parameter((torch.rand(outputs, inputs, generator=generator) * 2 - 1) * (gain / math.sqrt(inputs)))
            for inputs, outputs in pairwise(sizes)
        )

    def forward(self, x: Float[Tensor, "points inputs"]) -> Float[Tensor, "points outputs"]:
        """`W_n relu(... relu(W_1 x))` for each row."""
        first, *rest = self.weights
        x = x @ first.T
        for weight in rest:
            x = torch.relu(x) @ weight.T
        return x
