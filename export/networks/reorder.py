"""Reorder: an additive network to the log-odds of the longest horizon, less positive steps to the shorter ones."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from export.networks.additive import Additive, groups_of
from export.networks.preprocess import Standardise
from features.vectors.reorder import FEATURES

#: Bought again within so many days, in the order of the output's columns.
HORIZONS_DAYS = (7, 14, 30)

_TOGETHER = (
    ("product_share", "customer_orders"),
    ("product_orders", "customer_orders"),
    ("product_days_since", "product_gap_days"),
    ("product_due", "product_orders"),
    ("product_orders_since", "product_share"),
    ("product_in_last_5", "product_in_last_10"),
    ("product_in_last_5", "customer_orders"),
    ("product_in_last_10", "product_orders_since"),
    ("product_share", "customer_gap_days"),
    ("customer_days_since", "customer_gap_days"),
    ("customer_due", "customer_orders"),
    ("customer_recent_orders", "product_weight"),
    ("product_weight", "product_days_since"),
    ("product_share", "customer_recent_orders"),
    ("customer_days_since", "customer_recent_orders"),
    ("product_age_days", "customer_age_days"),
    ("product_age_days", "product_orders"),
    ("customer_gap_days", "customer_gap_std"),
    ("product_days_since", "customer_gap_days"),
    ("product_units", "product_share"),
    ("customer_order_value", "customer_orders"),
    ("product_share", "customer_gap_days", "customer_days_since"),
    ("product_in_last_5", "product_orders_since", "customer_gap_days"),
    ("product_weight", "customer_recent_orders", "customer_gap_days"),
    ("product_in_last_10", "customer_orders", "customer_gap_days"),
    ("product_days_since", "product_gap_days", "product_orders"),
    ("product_share", "customer_due", "customer_orders"),
)


class ReorderNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, 19) to probability (n, 3) and contributions (n, 19).

    Calibration (`scale`, `shift`, `steps`) is a part of the graph. `sum(contributions) + baseline` is the log-odds of
    the 30-day probability; contributions are 0 on average over the training rows.
    """

    centre: Any
    scale: Any
    shift: Any
    steps: Any

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        groups = groups_of(list(FEATURES), _TOGETHER)
        self.inputs = Standardise(len(FEATURES))
        self.net = Additive(len(FEATURES), groups, hidden, shared=0, others=len(HORIZONS_DAYS) - 1, drop=0.5)
        self.register_buffer("centre", torch.zeros(len(groups)))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("shift", torch.zeros(1))
        self.register_buffer("steps", torch.ones(len(HORIZONS_DAYS) - 1))

    def raw(self, features: Any) -> tuple[Any, Any]:
        """Uncalibrated log-odds of the longest horizon (n,), and the positive steps down to the shorter (n, 2)."""
        terms, steps = self.net(self.inputs(features))
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

    def forward(self, features: Any) -> tuple[Any, Any]:
        """The graph: see `models.manifest.TASKS`."""
        terms, steps = self.net(self.inputs(features))
        logits = self.logits(terms.sum(dim=1) + self.net.bias, F.softplus(steps))
        contributions = (self.scale * (terms - self.centre)) @ self.net.split
        return torch.sigmoid(logits), contributions
