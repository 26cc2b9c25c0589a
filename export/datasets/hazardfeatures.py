"""The features of running out, of chosen items and days: one walk over all hours, as a stream would bring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.grouphours import GroupHours
from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hourly import Hourly
from export.datasets.ownhours import Features, OwnHours

#: Groups of other items: name, and the key of an item's group from its region, location, product and category.
GROUPS: dict[str, Callable[[str, str, str, str], tuple[str, ...]]] = {
    "region": lambda region, location, sku, category: (region, sku),
    "chain": lambda region, location, sku, category: (sku,),
    "shop": lambda region, location, sku, category: (location,),
    "category": lambda region, location, sku, category: (region, category),
}


#: The features of which it says something that they are unknown.
HOUR_FLAGGED = (
    *(f"ran_out_hours_later_{day}d_ago" for day in (1, 2, 7)),
    *(f"level{kind}_{what}" for kind in ("", "_restock") for what in ("last", "mean", "share", "below")),
    "level_min",
    "hours_to_next_level",
    "capacity_share_median",
    "capacity_of_usual",
    *(f"{group}_supply_{what}" for group in GROUPS for what in ("share", "used")),
)


@cache
def hour_names() -> tuple[str, ...]:
    """The names of the features, in column order; the first two are the opening hour and the weekday."""
    own = OwnHours(items=1, a_day=2, opens=0)
    own.begin_day(0)
    own.observe(0, np.zeros(1, np.float32), np.zeros(1, np.int8))
    only = np.zeros(1, np.int64)
    return tuple(_told(own, [GroupHours(name, only, own.a_day) for name in GROUPS], only))


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
    own = OwnHours(len(hours.items), hours.a_day, hours.opens)
    others = [GroupHours(name, group, hours.a_day) for name, group in groups.items()]
    first = np.searchsorted(rows.row, np.arange(len(hours.sold) + 1))
    names: list[str] = []
    found, most = np.empty((0, 0), dtype), float(np.finfo(dtype).max)
    for row, (day, hour) in enumerate(zip(hours.day.tolist(), hours.hour.tolist(), strict=True)):
        if hour == 0:
            own.begin_day(day)
        own.observe(hour, hours.sold[row], hours.state[row])
        for group in others:
            group.observe(own)
        at = rows.item[first[row] : first[row + 1]]
        if len(at):
            told = _told(own, others, at)
            if not names:
                names, found = list(told), np.empty((len(rows), len(told)), dtype)
            found[first[row] : first[row + 1]] = np.clip(np.column_stack(list(told.values())), -most, most)
        for group in others:
            group.remember(own)
        if hour == hours.a_day - 1:
            today = slice(row + 1 - hours.a_day, row + 1)
            own.end_day(hours.sold[today], hours.state[today])
            tell("walking the hours", (row + 1) / len(hours.sold))
    return names, found


def _told(own: OwnHours, others: list[GroupHours], at: NDArray[np.int64]) -> Features:
    told = own.features(at)
    for group in others:
        told |= group.features(own, at)
    return told


def thinned(rows: HazardRows, share: NDArray[Any], seed: int) -> HazardRows:
    """A random part of the rows, the share of each item's rows being given, float64 of shape (s,)."""
    return rows.take(np.random.default_rng(seed).random(len(rows)) < share[rows.item])


__all__ = ["GROUPS", "HOUR_FLAGGED", "groups_of", "hazard_features", "hazard_rows", "hour_names", "thinned"]
