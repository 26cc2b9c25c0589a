"""Small networks side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


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
