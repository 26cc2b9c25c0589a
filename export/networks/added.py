"""Features that are added up, each with its weight, so that reasons are exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Where other outputs begin: `softplus` of export.networks.preprocess has no slope at 0 itself.
_BEGIN = 0.5


class Added(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A logistic regression: `bias + sum(terms)`; a feature's term is its value, and its NaN indicator, times weights.

    What is learnt from few of a shop's days must hold on others, when more is ordered than ever: a sum goes on beyond
    what was seen, and networks and trees in its place were worse at it (docs/research/reorder.md).

    Args:
        width: features; inputs are (n, 2 · width): values, then NaN indicators.
        others: outputs beside the sum, each another sum.
    """

    def __init__(self, width: int, others: int) -> None:
        super().__init__()
        self.width = width
        self.weights = nn.Parameter(torch.zeros(2 * width))
        self.other = nn.Linear(2 * width, others)
        self.bias = nn.Parameter(torch.zeros(1))
        nn.init.zeros_(self.other.weight)
        nn.init.constant_(self.other.bias, _BEGIN)

    def forward(self, inputs: Any) -> tuple[Any, Any]:
        """Inputs to terms (n, width) and other outputs (n, others)."""
        terms = self.weights * inputs
        return terms[:, : self.width] + terms[:, self.width :], self.other(inputs)

    def sums(self, inputs: Any) -> tuple[Any, Any]:
        """The sum (n,) and other outputs (n, others), without the terms: fits ask for nothing else."""
        return inputs @ self.weights + self.bias, self.other(inputs)
