"""A sum of the features, each weighed by a network that sees all of them: reasons are exact, and nothing is lost.

Source: D. Alvarez-Melis and T. Jaakkola, "Towards robust interpretability with self-explaining neural networks"
(NeurIPS 2018).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Weighed(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The output is `bias + sum(terms)`; a feature's term is its value, and its NaN indicator, each times a weight.

    Args:
        width: features; inputs are (n, 2 · width): values, then NaN indicators.
        hidden: units of the two layers that make the weights.
        others: outputs beside the sum, from the second layer.
        drop: share of units of the first layer that are left out at random in training.
    """

    def __init__(self, width: int, hidden: tuple[int, int], others: int, drop: float) -> None:
        super().__init__()
        self.width = width
        first, second = hidden
        self.body = nn.Sequential(
            nn.Linear(2 * width, first), nn.ReLU(), nn.Dropout(drop), nn.Linear(first, second), nn.ReLU()
        )
        self.weights = nn.Linear(second, 2 * width)
        self.other = nn.Linear(second, others)
        self.bias = nn.Parameter(torch.zeros(1))
        nn.init.normal_(self.weights.weight, std=0.02)

    def forward(self, inputs: Any) -> tuple[Any, Any]:
        """Inputs to terms (n, width) and other outputs (n, others)."""
        seen = self.body(inputs)
        terms = self.weights(seen) * inputs
        return terms[:, : self.width] + terms[:, self.width :], self.other(seen)


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
