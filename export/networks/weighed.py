"""Features that are added up, each with its weight, so that reasons are exact; and small networks side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Where other outputs begin: `softplus` of export.networks.preprocess has no slope at 0 itself.
_BEGIN = 0.5


class Added(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A logistic regression: `bias + sum(terms)`; a feature's term is its value, and its NaN indicator, times weights.

    What is learnt from few of a shop's days must hold on others, when more is ordered than ever: a sum goes on beyond
    what was seen, and networks and trees of the same features were worse at it (docs/research/reorder.md).

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


class Members(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Several small networks of the same inputs, side by side; their mean is steadier than any of them.

    Args:
        inputs: their width.
        hidden: units of the two layers of each.
        members: how many.
        drop: share of units of the first layer that are left out at random in training.
    """

    def __init__(self, inputs: int, hidden: tuple[int, int], members: int, drop: float) -> None:
        super().__init__()
        self.first_units, second = hidden
        self.members = members
        self.first = nn.Linear(inputs, members * self.first_units)
        self.drop = nn.Dropout(drop)
        self.second = nn.Parameter(torch.randn(members, self.first_units, second) / self.first_units**0.5)
        self.second_bias = nn.Parameter(torch.zeros(members, 1, second))
        self.last = nn.Parameter(torch.randn(members, second, 1) / second**0.5)

    def forward(self, *inputs: Any) -> Any:
        """Inputs, together (n, inputs), to a score of each member (members, n)."""
        units = self.drop(torch.relu(self.first(torch.cat(inputs, dim=1)))).reshape(-1, self.members, self.first_units)
        units = torch.relu(torch.bmm(units.transpose(0, 1), self.second) + self.second_bias)
        return torch.bmm(units, self.last).squeeze(2)
