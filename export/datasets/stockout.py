"""Rows of (item, day) with the demand that followed, a random horizon each.

A row is read at the end of a day; its label is what was ordered, less what was cancelled, on the following days, at
least 0. Lost sales are unknown: where stock ran out, demand was more than this says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.history import Day, Log, item_days
from features.aggregations.base import DAY_MS
from features.rows import FIXED_POINT, OrderKind
from features.vectors.stockout import stockout_rows

Arrays = dict[str, NDArray[Any]]

#: Longest horizon that is trained on.
HORIZON_DAYS = 28


class DailyDemand:
    """Units demanded of each item on each day of the log, cumulated, for sums over days that came after."""

    def __init__(self, log: Log) -> None:
        demand = log.history.demand
        day = demand.columns["event_time_ms"] // DAY_MS
        self._index = {key: i for i, key in enumerate(dict.fromkeys(demand.entities))}
        self.first_day = int(day.min())
        days = int(day.max()) - self.first_day + 1
        item = np.array([self._index[key] for key in demand.entities])
        sign = np.select(
            [demand.columns["kind"] == OrderKind.PLACED, demand.columns["kind"] == OrderKind.CANCELLED], [1, -1], 0
        )
        units = np.zeros((len(self._index), days + 1))
        np.add.at(units, (item, day - self.first_day + 1), sign * demand.columns["quantity"] / FIXED_POINT)
        self._cumulated = units.cumsum(axis=1)

    def after(self, keys: list[str], as_of_ms: int, horizon_days: NDArray[np.int64]) -> Any:
        """Net demand of the `horizon_days` days that follow the day of `as_of_ms`, float64 of shape (n,)."""
        item = np.array([self._index[key] for key in keys])
        done = int(as_of_ms // DAY_MS) - self.first_day + 1
        until = done + horizon_days
        if until.max(initial=0) >= self._cumulated.shape[1]:
            raise ValueError("a label reaches past the end of the log")
        return np.maximum(self._cumulated[item, until] - self._cumulated[item, done], 0.0)


def build(log: Log, from_ms: int, until_ms: int, test_from_ms: int, seed: int, share: float = 0.3) -> Arrays:
    """Rows with as-of times from `from_ms` to before `until_ms`.

    Args:
        log: the event log.
        from_ms, until_ms: of as-of times; the log reaches at least 28 days past `until_ms`.
        test_from_ms: from here on all rows are kept and the horizon is the catalog's lead time.
        seed: of horizons and samples.
        share: of rows before the test that are kept.

    Returns:
        features float32 (n, 15); horizon_days int64 (n,); demand float32 (n,); recent float32 (n,), the demand of the
        same number of days before (for the seasonal naive baseline); as_of_ms int64 (n,).
    """
    rng = np.random.default_rng(seed)
    future = DailyDemand(log)
    lead = dict(zip(log.catalog["sku"].to_list(), log.catalog["lead_time_days"].to_list(), strict=True))
    parts: list[Arrays] = []
    for day in item_days(log):
        if not from_ms <= day.as_of_ms < until_ms or not day.keys:
            continue
        test = day.as_of_ms >= test_from_ms
        kept = [key for key in day.keys if test or rng.random() < share]
        if test:
            horizon = np.array([round(lead.get(key.partition(":")[2], 7.0)) for key in kept], np.int64)
        else:
            horizon = rng.integers(1, HORIZON_DAYS + 1, len(kept))
        parts.append(_rows(day, kept, np.clip(horizon, 1, HORIZON_DAYS), future))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(day: Day, keys: list[str], horizon: NDArray[np.int64], future: DailyDemand) -> Arrays:
    slots = day.table.slots_of(keys)
    as_of = np.full(len(keys), day.as_of_ms, np.int64)
    rows = stockout_rows(day.table, slots, as_of, horizon.astype(np.float64))
    tiles, state, at = day.table.part("item_demand", "units", slots, as_of)
    back = np.zeros((len(keys), 1), np.int64)
    recent = tiles.sums(state, at, as_of, back, (horizon - 1)[:, None])[:, 0]
    return {
        "features": rows.features,
        "horizon_days": horizon,
        "demand": future.after(keys, day.as_of_ms, horizon).astype(np.float32),
        "recent": np.maximum(recent, 0.0).astype(np.float32),
        "as_of_ms": as_of,
    }
