"""Rows of (item, day) with the demand that followed, a random horizon each.

A row is read at the end of a day; its label is what was ordered, less what was cancelled, on the following days, at
least 0. Lost sales are unknown: where stock ran out, demand was more than this says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.history import Day, Log, item_days, of_items
from features.aggregations.base import DAY_MS
from features.aggregations.stock import StockPosition
from features.eventlog import read_inventory
from features.ids import hash64
from features.logfile import has_topic
from features.rows import FIXED_POINT, InventoryKind, OrderKind, Rows
from features.vectors.deliveries import open_orders
from features.vectors.stockout import FEATURES, stockout_rows

Arrays = dict[str, NDArray[Any]]

#: Longest horizon that is trained on.
HORIZON_DAYS = 28
#: About so many rows are made of a log; of one with more, some items are drawn.
_MOST_ROWS = 3_000_000


class DailyDemand:
    """Units demanded of each item on each day of the log, cumulated, for sums over days that came after.

    Args:
        log: the event log.
        items: those that are asked for; all where None.
    """

    def __init__(self, log: Log, items: Container[str] | None = None) -> None:
        self.first_day = log.first_ms // DAY_MS
        days = log.last_ms // DAY_MS - self.first_day + 1
        demand = of_items(log.history.demand, items)
        day = demand.columns["event_time_ms"] // DAY_MS
        self._index = {key: i for i, key in enumerate(dict.fromkeys(demand.entities))}
        item = np.array([self._index[key] for key in demand.entities])
        sign = np.select(
            [demand.columns["kind"] == OrderKind.PLACED, demand.columns["kind"] == OrderKind.CANCELLED], [1, -1], 0
        )
        units = np.zeros((len(self._index), days + 1))
        np.add.at(units, (item, day - self.first_day + 1), sign * demand.columns["quantity"] / FIXED_POINT)
        self._cumulated = np.cumsum(units, axis=1, out=units)

    def index(self, keys: list[str]) -> NDArray[np.int64]:
        """A number for each item, int64 of shape (n,)."""
        return np.array([self._index[key] for key in keys], np.int64)

    def after(self, keys: list[str], as_of_ms: int, horizon_days: NDArray[np.int64]) -> Any:
        """Net demand of the `horizon_days` days that follow the day of `as_of_ms`, float64 of shape (n,)."""
        item = self.index(keys)
        done = int(as_of_ms // DAY_MS) - self.first_day + 1
        until = done + horizon_days
        if until.max(initial=0) >= self._cumulated.shape[1]:
            raise ValueError("a label reaches past the end of the log")
        return np.maximum(self._cumulated[item, until] - self._cumulated[item, done], 0.0)


def nothing() -> Arrays:
    """No rows, as `build` gives them."""
    kinds = {"horizon_days": np.int64, "demand": np.float32, "recent": np.float32, "position": np.float32}
    kinds |= {"on_hand": np.float32, "ran_out": np.float32, "item": np.int64, "as_of_ms": np.int64}
    kinds |= {"lead_days": np.int64}
    wide: Arrays = {"features": np.empty((0, len(FEATURES)), np.float32)}
    wide |= dict.fromkeys(("order_units", "order_due_days"), np.empty((0, StockPosition.orders), np.float32))
    return wide | {name: np.empty(0, kind) for name, kind in kinds.items()}


class Shelf:
    """When items ran out and were restocked, by an event log's inventory."""

    def __init__(self, inventory: Rows | None) -> None:
        self._changes: dict[str, list[tuple[int, bool]]] = {}
        if inventory is None:
            return
        kind = inventory.columns["kind"]
        for at in np.flatnonzero(np.isin(kind, (InventoryKind.RAN_OUT, InventoryKind.RESTOCKED))).tolist():
            change = (int(inventory.columns["event_time_ms"][at]), bool(kind[at] == InventoryKind.RAN_OUT))
            self._changes.setdefault(inventory.entities[at], []).append(change)
        for changes in self._changes.values():
            changes.sort()

    def empty(self, keys: list[str], as_of_ms: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each item is out at a time, or runs out within so many days of it, bool of shape (n,)."""
        until = as_of_ms + days * DAY_MS
        return np.array([self._one(*each) for each in zip(keys, as_of_ms.tolist(), until.tolist(), strict=True)], bool)

    def _one(self, key: str, as_of_ms: int, until_ms: int) -> bool:
        changes = self._changes.get(key, [])
        begin, end = (bisect_right(changes, (at, True)) for at in (as_of_ms, until_ms))
        return (begin > 0 and changes[begin - 1][1]) or any(out for _, out in changes[begin:end])


def inventory_of(events: Path) -> Rows | None:
    """The inventory of an event log; None where it has none."""
    return read_inventory(events) if has_topic(events, "inventory") else None


def build(
    log: Log,
    from_ms: int,
    until_ms: int,
    test_from_ms: int,
    seed: int,
    share: float = 0.3,
    inventory: Rows | None = None,
) -> Arrays:
    """Rows with as-of times from `from_ms` to before `until_ms`; of a log with more than three million, of some items.

    Args:
        log: the event log.
        from_ms, until_ms: of as-of times; the log reaches at least 28 days past `until_ms`.
        test_from_ms: from here on all rows are kept and the horizon is the catalog's lead time.
        seed: of horizons and samples.
        share: of rows before the test that are kept.
        inventory: stock levels; without them positions are unknown.

    Returns:
        features float32 (n, 15); horizon_days int64 (n,); demand float32 (n,); recent float32 (n,), the demand of the
        same number of days before (for the seasonal naive baseline); position float32 (n,), units on hand and arriving
        in time, NaN where never counted; on_hand float32 (n,), units, like that; order_units and order_due_days
        float32 (n, orders), of `open_orders`; ran_out float32 (n,), 1 where the log says that it ran out within the
        horizon or was out already, NaN where it was never counted; item int64 (n,); as_of_ms int64 (n,); lead_days
        int64 (n,), the catalog's lead time, within 1 to 28.
    """
    rng = np.random.default_rng(seed)
    items = _drawn(log, from_ms, until_ms, test_from_ms, share)
    future = DailyDemand(log, items)
    lead = dict(zip(log.catalog["sku"].to_list(), log.catalog["lead_time_days"].to_list(), strict=True))
    shelf = Shelf(inventory)
    parts: list[Arrays] = []
    for day in item_days(log, inventory, items):
        if not from_ms <= day.as_of_ms < until_ms or not day.keys:
            continue
        test = day.as_of_ms >= test_from_ms
        kept = [key for key in day.keys if test or rng.random() < share]
        leads = np.array([round(lead.get(key.partition(":")[2], 7.0)) for key in kept], np.int64)
        leads = np.clip(leads, 1, HORIZON_DAYS)
        horizon = leads if test else rng.integers(1, HORIZON_DAYS + 1, len(kept))
        parts.append(_rows(day, kept, horizon, future, shelf) | {"lead_days": leads})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _drawn(log: Log, from_ms: int, until_ms: int, test_from_ms: int, share: float) -> set[str] | None:
    """The items of a log with more rows than are wanted that rows are made of, by their names alone; None for all."""
    demand = log.history.demand
    number = {key: i for i, key in enumerate(dict.fromkeys(demand.entities))}
    first = np.full(len(number), np.iinfo(np.int64).max)
    of = np.fromiter(map(number.__getitem__, demand.entities), np.int64, len(demand))
    np.minimum.at(first, of, demand.columns["event_time_ms"])
    tested = np.maximum(until_ms - np.maximum(first, test_from_ms), 0)
    taught = np.maximum(min(test_from_ms, until_ms) - np.maximum(first, from_ms), 0)
    kept = _MOST_ROWS / max(float((tested + share * taught).sum() / DAY_MS), 1.0)
    return None if kept >= 1.0 else {key for key in number if hash64(key) < kept * 2.0**64}


def _rows(day: Day, keys: list[str], horizon: NDArray[np.int64], future: DailyDemand, shelf: Shelf) -> Arrays:
    slots = day.table.slots_of(keys)
    as_of = np.full(len(keys), day.as_of_ms, np.int64)
    rows = stockout_rows(day.table, slots, as_of, horizon.astype(np.float64))
    tiles, state, at = day.table.part("item_demand", "units", slots, as_of)
    back = np.zeros((len(keys), 1), np.int64)
    recent = tiles.sums(state, at, as_of, back, (horizon - 1)[:, None])[:, 0]
    units, due_days = open_orders(day.table, slots, as_of)
    return {
        "features": rows.features,
        "horizon_days": horizon,
        "demand": future.after(keys, day.as_of_ms, horizon).astype(np.float32),
        "recent": np.maximum(recent, 0.0).astype(np.float32),
        "position": (rows.on_hand + rows.arriving).astype(np.float32),
        "on_hand": rows.on_hand.astype(np.float32),
        "order_units": units.astype(np.float32),
        "order_due_days": due_days.astype(np.float32),
        "ran_out": np.where(np.isnan(rows.on_hand), np.nan, shelf.empty(keys, as_of, horizon)).astype(np.float32),
        "item": future.index(keys),
        "as_of_ms": as_of,
    }
