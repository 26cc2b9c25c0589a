"""Stock-out, whole: demand over the lead time and its position, hazards by the hour, twice; the next day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from export.datasets.dayfeatures import DAY_FLAGGED, day_names, day_units
from export.datasets.hazardfeatures import HOUR_FLAGGED, HOUR_LEVEL, hour_names, hour_units
from export.networks.expanded import Level
from export.networks.hazard import HazardNet
from export.networks.nextday import NextDayNet
from export.networks.stockout import StockoutNet
from features.vectors import shelf

_LITTLE_A_DAY = 0.1


def hazard_net(hidden: tuple[int, ...] = (128, 64)) -> HazardNet:
    """Fresh, for the features that `hour_names` names."""
    names = hour_names()
    level = Level(names.index(HOUR_LEVEL), _places(names, hour_units()), _LITTLE_A_DAY)
    return HazardNet(len(names), hidden=hidden, flagged=_places(names, HOUR_FLAGGED), level=level)


def shelf_net(hidden: tuple[int, ...] = (64, 32)) -> HazardNet:
    """Fresh, for the features that `features.vectors.shelf` names."""
    names = list(shelf.FEATURES)
    level = Level(names.index("usual_day"), _places(names, shelf.UNITS), _LITTLE_A_DAY)
    return HazardNet(len(names), len(shelf.OPENING), hidden, _places(names, shelf.FLAGGED), level)


def next_day_net(hidden: tuple[int, ...] = (64, 48)) -> NextDayNet:
    """Fresh, for the features that `day_names` names."""
    names = day_names()
    return NextDayNet(len(names), hidden, _places(names, DAY_FLAGGED), _places(names, day_units()))


def _places(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    return tuple(names.index(name) for name in wanted)


class StockoutHeads(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The graph: see `models.manifest.TASKS` and `ROWS_APART`.

    A log of orders trains the first head, one of sales by the hour the others; a head that was not trained says NaN,
    whatever it is asked.
    """

    trained: Any

    def __init__(self) -> None:
        super().__init__()
        self.position = StockoutNet()
        self.hours, self.days = hazard_net(), next_day_net()
        self.shelf = shelf_net()
        self.register_buffer("trained", torch.zeros(2))

    @property
    def knows_orders(self) -> bool:
        """Whether the lead-time head was trained."""
        return bool(self.trained[0] > 0)

    @property
    def knows_hours(self) -> bool:
        """Whether the heads of hours, days and shelves were trained."""
        return bool(self.trained[1] > 0)

    @property
    def baseline(self) -> float:
        """Of the lead-time head: log1p of the median demand where every contribution is 0."""
        return self.position.baseline

    def forward(
        self, features: Any, lead_time_days: Any, position: Any, service_level: Any, hours: Any, days: Any, items: Any
    ) -> tuple[Any, ...]:
        """Outputs in the order of the contract."""
        risk, demand, order, why, lost = self.position(features, lead_time_days, position, service_level)
        hazards, why_hours = self.hours(hours)
        next_day, why_days = self.days(days)
        soon, why_soon = self.shelf(items)
        first = [self._if_trained(0, told) for told in (risk, demand, order, why, lost)]
        others = [self._if_trained(1, told) for told in (hazards, why_hours, next_day, why_days, soon, why_soon)]
        return (*first, *others)

    def _if_trained(self, head: int, told: Any) -> Any:
        return told + torch.where(self.trained[head] > 0, 0.0, torch.nan)
