"""The features of running out, of chosen items and days: one walk over all hours, as a stream would bring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.evenings import Evenings
from export.datasets.grouphours import GroupHours
from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hourly import Hourly
from export.datasets.ownhours import Features, OwnHours
from export.datasets.regionprices import RegionPrices

#: Groups of other items: name, and the key of an item's group from its region, location, product and category.
GROUPS: dict[str, Callable[[str, str, str, str], tuple[str, ...]]] = {
    "region": lambda region, location, sku, category: (region, sku),
    "chain": lambda region, location, sku, category: (sku,),
    "shop": lambda region, location, sku, category: (location,),
    "category": lambda region, location, sku, category: (region, category),
}


#: What told nothing: the loss on validation stayed where it was when these were shuffled among rows.
_LEFT_OUT = frozenset(
    {
        *(f"run_outs_lately{when}" for when in ("", "_1h", "_within_4h")),
        *(f"level_restock_{what}" for what in ("last", "mean", "share")),
        *("days_out_1h_later_7d", "days_out_2h_later_7d", "ran_out_hours_later_7d_ago", "hours_in_stock_1d"),
        *("days_short_28d", "days_ran_out", "ran_out_last_week", "capacity_last_week"),
        *(f"shop_ran_out_{when}" for when in ("now", "3h")),
        *("shop_others", "shop_out_share", "shop_out_more_than_yesterday", "shop_out_usually_1h_later"),
        *("shop_supply_share", "category_supply_used", "shop_closed_out", "category_closed_out"),
    }
)
#: The features of which it says something that they are unknown.
HOUR_FLAGGED = (
    *(f"ran_out_hours_later_{day}d_ago" for day in (1, 2)),
    *(f"level_{what}" for what in ("last", "mean", "share", "below", "restock_below", "min")),
    "hours_to_next_level",
    "capacity_share_median",
    "capacity_of_usual",
    *(f"{group}_supply_{what}" for group in ("region", "chain") for what in ("share", "used")),
    "shop_supply_used",
    "category_supply_share",
)
#: What units are measured by, and what the names of features that are told in units begin with.
HOUR_LEVEL = "usual_day"
_UNITS = ("sold_", "usual_", "rate_", "level_last", "level_mean", "level_min", "capacity_yesterday", "busy_hour_units")


@cache
def hour_names() -> tuple[str, ...]:
    """The names of the features, in column order; the first two are the opening hour and the weekday."""
    only = np.zeros(1, np.int64)
    walk = _Walk(1, 2, 0, dict.fromkeys(GROUPS, only), None)
    walk.own.begin_day(0)
    walk.own.observe(0, np.zeros(1, np.float32), np.zeros(1, np.int8))
    return tuple(walk.features(0, only))


@cache
def hour_units() -> tuple[str, ...]:
    """The features that are told in units; what they say hangs on what is usual of the item (`HOUR_LEVEL`)."""
    return tuple(name for name in hour_names() if name.startswith(_UNITS) and name != HOUR_LEVEL)


def groups_of(items: list[str], category: Mapping[str, str | None]) -> dict[str, NDArray[np.int64]]:
    """The group of each item in each of `GROUPS`.

    >>> {name: group.tolist() for name, group in groups_of(["n/a:1", "n/b:1", "s/c:1"], {}).items()}
    {'region': [0, 0, 1], 'chain': [0, 0, 0], 'shop': [0, 1, 2], 'category': [0, 0, 1]}
    """
    places = [(item.partition(":")[0], item.partition(":")[2]) for item in items]
    found = {}
    for name, key in GROUPS.items():
        keys = [key(at.rpartition("/")[0] or at, at, sku, category.get(sku) or "") for at, sku in places]
        number = {k: i for i, k in enumerate(sorted(set(keys)))}
        found[name] = np.array([number[k] for k in keys], np.int64)
    return found


def hazard_features(
    hours: Hourly,
    groups: Mapping[str, NDArray[np.int64]],
    rows: HazardRows,
    tell: Callable[[str, float], None] = lambda text, share: None,
    dtype: type[np.floating[Any]] = np.float32,
) -> tuple[list[str], NDArray[Any]]:
    """Walks all hours of all items once and reads the features of some rows.

    Args:
        hours: of all items: the others tell as well.
        groups: from `groups_of`.
        rows: in order of time, as `hazard_rows` gives them.
        tell: hears of each day.
        dtype: of the features; float16 tells three digits, which is enough to train on, in half the memory.

    Returns:
        Names, and `dtype` of shape (n, features); the first two are the opening hour and the weekday.
    """
    walk = _Walk(len(hours.items), hours.a_day, hours.opens, groups, hours.discount)
    first = np.searchsorted(rows.row, np.arange(len(hours.sold) + 1))
    names: list[str] = []
    found, most = np.empty((0, 0), dtype), float(np.finfo(dtype).max)
    for row, (day, hour) in enumerate(zip(hours.day.tolist(), hours.hour.tolist(), strict=True)):
        walk.observe(day, hour, hours.sold[row], hours.state[row])
        at = rows.item[first[row] : first[row + 1]]
        if len(at):
            told = walk.features(day - hours.first_day, at)
            if not names:
                names, found = list(told), np.empty((len(rows), len(told)), dtype)
            found[first[row] : first[row + 1]] = np.clip(np.column_stack(list(told.values())), -most, most)
        walk.remember()
        if hour == hours.a_day - 1:
            today = slice(row + 1 - hours.a_day, row + 1)
            walk.end_day(hours.sold[today], hours.state[today])
            tell("walking the hours", (row + 1) / len(hours.sold))
    return names, found


class _Walk:
    """All that is kept of the hours walked so far."""

    def __init__(
        self,
        items: int,
        a_day: int,
        opens: int,
        groups: Mapping[str, NDArray[np.int64]],
        discount: NDArray[np.floating[Any]] | None,
    ) -> None:
        self.own, self.evenings = OwnHours(items, a_day, opens), Evenings(items, a_day)
        self.others = [GroupHours(name, group, a_day) for name, group in groups.items()]
        self.prices = RegionPrices(discount, groups["region"])

    def observe(self, day: int, hour: int, sold: NDArray[Any], state: NDArray[np.int8]) -> None:
        if hour == 0:
            self.own.begin_day(day)
        self.own.observe(hour, sold, state)
        for group in self.others:
            group.observe(self.own)

    def features(self, day: int, at: NDArray[np.int64]) -> Features:
        """Of some items as of the hour taken in last, on a day counted from the first."""
        told = self.own.features(at) | self.evenings.features(self.own.hour, at)
        for group in self.others:
            told |= group.features(self.own, self.evenings.closed_out, at)
        told |= self.prices.features(day, at)
        return {name: values for name, values in told.items() if name not in _LEFT_OUT}

    def remember(self) -> None:
        for group in self.others:
            group.remember(self.own)

    def end_day(self, sold: NDArray[Any], state: NDArray[np.int8]) -> None:
        self.own.end_day(sold, state)
        self.evenings.end_day(sold, state)


def thinned(rows: HazardRows, share: NDArray[Any], seed: int) -> HazardRows:
    """A random part of the rows, the share of each item's rows being given, float64 of shape (s,)."""
    return rows.take(np.random.default_rng(seed).random(len(rows)) < share[rows.item])


__all__ = [
    "GROUPS",
    "HOUR_FLAGGED",
    "HOUR_LEVEL",
    "groups_of",
    "hazard_features",
    "hazard_rows",
    "hour_names",
    "hour_units",
    "thinned",
]
