"""Reorder: weighed features to the log-odds of the longest horizon, less positive steps; beside it, a rank."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from export.networks.preprocess import Standardise
from export.networks.weighed import Members, Weighed
from features.vectors.reorder import FEATURES

#: Bought again within so many days, in the order of the output's columns.
HORIZONS_DAYS = (7, 14, 30)


class ReorderNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, 30) to probability (n, 3), contributions (n, 30) and rank (n,).

    Calibration (`scale`, `shift`, `steps`) is a part of the graph. `sum(contributions) + baseline` is the log-odds of
    the 30-day probability; contributions are 0 on average over the training rows. The rank is trained on whole baskets:
    of two products of a customer, the one with the higher rank is more likely in the next one.
    """

    centre: Any
    scale: Any
    shift: Any
    steps: Any

    def __init__(self) -> None:
        super().__init__()
        self.inputs = Standardise(len(FEATURES))
        self.net = Weighed(len(FEATURES), hidden=(96, 64), others=len(HORIZONS_DAYS) - 1, drop=0.2)
        self.places = Members(2 * len(FEATURES), hidden=(48, 24), members=4, drop=0.15)
        self.register_buffer("centre", torch.zeros(len(FEATURES)))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("shift", torch.zeros(1))
        self.register_buffer("steps", torch.ones(len(HORIZONS_DAYS) - 1))

    def raw(self, inputs: Any) -> tuple[Any, Any]:
        """Uncalibrated log-odds of the longest horizon (n,), and the positive steps down to the shorter (n, 2)."""
        terms, steps = self.net(inputs)
        return terms.sum(dim=1) + self.net.bias, F.softplus(steps)

    def logits(self, longest: Any, steps: Any) -> Any:
        """Calibrated log-odds (n, 3), not decreasing from left to right."""
        last = self.scale * longest + self.shift
        middle = last - self.steps[1] * steps[:, 1]
        return torch.stack([middle - self.steps[0] * steps[:, 0], middle, last], dim=1)

    @property
    def baseline(self) -> float:
        """Log-odds of the 30-day probability where every contribution is 0."""
        return float((self.scale * (self.net.bias + self.centre.sum()) + self.shift).detach())

    def forward(self, features: Any) -> tuple[Any, Any, Any]:
        """The graph: see `models.manifest.TASKS`."""
        inputs = self.inputs(features)
        terms, steps = self.net(inputs)
        logits = self.logits(terms.sum(dim=1) + self.net.bias, F.softplus(steps))
        contributions = self.scale * (terms - self.centre)
        return torch.sigmoid(logits), contributions, self.places(inputs).mean(dim=0)
