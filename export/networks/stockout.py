"""Stock-out: an additive network to the median demand over the lead time, positive steps to the other quantiles."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.networks.additive import Additive, groups_of
from export.networks.preprocess import Standardise, softplus
from export.networks.quantiles import (
    LEVELS,
    MEDIAN,
    PUBLISHED,
    around_median,
    exceedance,
    expected_excess,
    quantile,
    shifted_levels,
)
from features.vectors.stockout import FEATURES

#: Longest horizon in training; beyond it demand grows in proportion.
HORIZON_DAYS = 28.0
_MOST_LOG_UNITS = 18.0
_UNITS = ("units_1d", "units_3d", "units_7d", "units_14d", "units_28d", "units_56d")

_TOGETHER = (
    ("units_7d", "units_28d"),
    ("units_14d", "units_28d", "units_56d"),
    ("units_28d", "lines_28d"),
    ("lines_7d", "lines_28d"),
    ("units_28d", "units_std_28d"),
    ("units_28d", "units_max_28d", "days_with_demand_28d"),
    ("lines_28d", "days_with_demand_28d"),
    ("units_56d", "lines_28d"),
    ("units_7d", "days_since_demand"),
    ("units_28d", "days_since_demand", "days_on_sale"),
    ("lines_28d", "days_on_sale"),
    ("units_1d", "units_3d", "units_7d"),
    ("days_since_demand", "days_with_demand_28d"),
    ("weekday_sin", "weekday_cos"),
)


class StockoutNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, 16), lead time, position and service level to risk, quantiles, order quantity and reasons.

    Every group sees the lead time beside its features, so `terms` are those of the row's own lead time; they are
    centred on their training mean over all lead times. What depends on the lead time alone (`clock`, and growth in
    proportion past 28 days) is spread evenly over the six `units_*` contributions, since it scales what they measure.
    `sum(contributions) + baseline` is log1p of the median demand; where demand cannot fall below 0, the negative
    contributions are shrunk by one factor until that holds.

    A position says something of the demand too: whoever ordered it knew more than the features. So risk and lost
    sales are those of the quantiles at `shifted_levels`, where a log teaches that; quantiles, order quantity and
    reasons are as they are.
    """

    centre: Any
    shift: Any
    horizon_share: Any

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        groups = groups_of(list(FEATURES), _TOGETHER)
        self.inputs = Standardise(len(FEATURES))
        self.net = Additive(len(FEATURES), groups, hidden, shared=2, others=len(LEVELS) - 1)
        self.clock = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.register_buffer("centre", torch.zeros(len(groups) + 1))
        self.register_buffer("shift", torch.zeros(1))
        share = [1.0 / len(_UNITS) if name in _UNITS else 0.0 for name in FEATURES]
        self.register_buffer("horizon_share", torch.tensor(share))

    def parts(self, features: Any, lead_time_days: Any) -> tuple[Any, Any, Any]:
        """Terms (n, groups), the effect of the lead time alone (n,), and steps between quantiles (n, levels - 1)."""
        known = torch.where(torch.isnan(lead_time_days), torch.full_like(lead_time_days, 7.0), lead_time_days)
        days = known.clamp(1.0, HORIZON_DAYS)
        time = torch.stack([torch.log(days) - 2.3, days / 14.0 - 1.0], dim=1)
        terms, steps = self.net(torch.cat([self.inputs(features), time], dim=1))
        return terms, self.clock(time)[:, 0], softplus(steps)

    def quantiles(self, features: Any, lead_time_days: Any) -> Any:
        """Unbounded quantiles in log1p of units (n, levels), for training."""
        terms, clock, steps = self.parts(features, lead_time_days)
        return around_median((terms.sum(dim=1) + clock + self.net.bias)[:, None], steps, along=1)

    @property
    def baseline(self) -> float:
        """log1p of the median demand where every contribution is 0."""
        return float((self.net.bias + self.centre.sum()).detach())

    def forward(self, features: Any, lead_time_days: Any, position: Any, service_level: Any) -> Any:
        """Risk, published quantiles, order quantity, contributions and expected lost sales: see `models.manifest`."""
        terms, clock, steps = self.parts(features, lead_time_days)
        free = around_median((terms.sum(dim=1) + clock + self.net.bias)[None], steps.T)
        bounded = free.clamp(0.0, _MOST_LOG_UNITS)
        growth = torch.where(torch.isnan(lead_time_days), torch.ones_like(lead_time_days), lead_time_days)
        growth = (growth / HORIZON_DAYS).clamp(1.0, 100.0)
        held = torch.where(torch.isnan(position), torch.zeros_like(position), position).clamp(0.0, 1e30)
        # Demand comes in whole units mostly: half a unit more stands between "as much as" and "more than".
        levels = shifted_levels(self.shift)
        risk = exceedance(bounded, torch.log1p((held + 0.5) / growth), levels)
        risk = torch.where(torch.isnan(position), position, risk)
        level = torch.where(torch.isnan(service_level), torch.full_like(service_level, 0.9), service_level)
        wanted = torch.expm1(quantile(bounded, level.clamp(0.0, 0.9999)).clamp_max(_MOST_LOG_UNITS)) * growth
        published = torch.expm1(bounded[list(PUBLISHED)]) * growth
        median = torch.log1p(published[1])
        contributions = self._reasons(terms, clock, median, free[MEDIAN])
        lost = expected_excess(bounded, torch.log1p(held / growth), levels) * growth
        lost = torch.where(torch.isnan(position), position, lost)
        return risk, published.T, (wanted - held).clamp_min(0.0), contributions, lost

    def _reasons(self, terms: Any, clock: Any, median: Any, free: Any) -> Any:
        grown = median - free.clamp(0.0, _MOST_LOG_UNITS)
        horizon = clock - self.centre[-1] + grown
        told = torch.cat([terms, horizon[:, None]], dim=1)
        to = torch.cat([self.net.split, self.horizon_share[None]])
        parts = torch.addmm(-(self.centre[:-1] @ self.net.split), told, to)
        up, down = parts.clamp_min(0.0), parts.clamp_max(0.0)
        target = median - (self.net.bias + self.centre.sum())
        shrink = (target - up.sum(dim=1)) / down.sum(dim=1).clamp_max(-1e-6)
        return up + down * torch.where(free < 0.0, shrink, torch.ones_like(shrink))[:, None]
