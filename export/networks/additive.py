"""A sum of small networks, one a feature and one a chosen group of features, so that reasons are exact.

Source: R. Agarwal et al., "Neural additive models" (NeurIPS 2021); Y. Lou et al., "Accurate intelligible models with
pairwise interactions" (KDD 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Additive(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One hidden layer a group, all groups as one matrix product.

    Args:
        width: features; inputs are (n, 2 · width + shared), values, NaN indicators, then what every group sees.
        groups: the features of each group, by index. A group's term is split evenly over its features.
        hidden: units a group.
        shared: inputs that every group sees beside its own.
        others: outputs beside the additive one, from all hidden units together.
        drop: share of terms left out at random in training, so that none leans on another.

    The additive output is `bias + sum(terms)`; `terms` are (n, groups).
    """

    mask: Any
    split: Any

    def __init__(
        self, width: int, groups: Sequence[Sequence[int]], hidden: int, shared: int, others: int, drop: float = 0.0
    ) -> None:
        super().__init__()
        inputs = 2 * width + shared
        self.frozen = False
        self.groups, self.hidden, self.drop = len(groups), hidden, nn.Dropout(drop)
        mask = torch.zeros(inputs, len(groups), hidden)
        split = torch.zeros(len(groups), width)
        for g, members in enumerate(groups):
            split[g, list(members)] = 1.0 / len(members)
            mask[[*members, *(width + m for m in members), *range(2 * width, inputs)], g] = 1.0
        self.register_buffer("mask", mask.reshape(inputs, -1))
        self.register_buffer("split", split)
        fan_in = torch.tensor([2.0 * len(m) + shared for m in groups]).repeat_interleave(hidden)
        self.first = nn.Parameter(torch.randn(inputs, len(groups) * hidden) / fan_in.sqrt() * self.mask)
        self.first_bias = nn.Parameter(torch.randn(len(groups) * hidden) * 0.5)
        self.second = nn.Parameter(torch.randn(len(groups), hidden) * 0.1 / hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(1))
        self.other = nn.Linear(len(groups) * hidden, others)
        nn.init.normal_(self.other.weight, std=0.1 / (len(groups) * hidden) ** 0.5)

    def forward(self, inputs: Any) -> tuple[Any, Any]:
        """Inputs to terms (n, groups) and other outputs (n, others)."""
        weight = self.first if self.frozen else self.first * self.mask
        units = torch.relu(inputs @ weight + self.first_bias)
        own = (self.second[:, :, None] * torch.eye(self.groups)[:, None, :]).reshape(-1, self.groups)
        told = units @ torch.cat([own, self.other.weight.T], dim=1)  # one product, which goes over the units once
        return self.drop(told[:, : self.groups]), told[:, self.groups :] + self.other.bias

    def freeze(self) -> None:
        """Ends training: masked weights are made 0, so that the graph needs no mask."""
        self.first.data.mul_(self.mask)
        self.frozen = True
        self.eval()


def groups_of(features: Sequence[str], together: Sequence[Sequence[str]]) -> list[list[int]]:
    """Every feature alone, then the given groups, by index.

    >>> groups_of(["a", "b"], [["a", "b"]])
    [[0], [1], [0, 1]]
    """
    index = {name: i for i, name in enumerate(features)}
    return [[i] for i in range(len(features))] + [[index[name] for name in group] for group in together]
