"""Stock-out vectors: a row an item, and its stock position with the demand since the last count taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Slots, Times
from features.table import EntityTable
from features.vectors import shelf

#: What is read, as view.aggregation: a model that was trained on these refuses others.
READS = ("item_demand.units", "item_demand.lines", "item_demand.demand", "item_stock.stock")

#: Numeric features in column order, with what each means.
FEATURES: dict[str, str] = {
    "units_1d": "units ordered today",
    "units_3d": "units ordered in the last 3 days",
    "units_7d": "units ordered in the last 7 days",
    "units_14d": "units ordered in the last 14 days",
    "units_28d": "units ordered in the last 28 days",
    "units_56d": "units ordered in the last 56 days",
    "lines_7d": "order lines in the last 7 days",
    "lines_28d": "order lines in the last 28 days",
    "units_std_28d": "deviation of daily units over the last 28 days",
    "units_max_28d": "largest daily units in the last 28 days",
    "days_with_demand_28d": "days with demand in the last 28 days",
    "days_since_demand": "days since the last order line",
    "days_on_sale": "days since the first order line",
    "weekday_sin": "day of the week, sine",
    "weekday_cos": "day of the week, cosine",
}

_DAILY = 28


@dataclass(frozen=True, slots=True)
class StockoutRows:
    """Rows of items.

    Args:
        features: float32 of shape (n, 15), columns as `FEATURES`; NaN is unknown.
        on_hand: units on the shelf, float64 of shape (n,), at least 0; NaN where never counted.
        arriving: units on order that are due within the lead time, float64 of shape (n,).
        simulated: True where the stock level is simulated, bool of shape (n,).
        shelf: of those at `shelves`, float32 of shape (s, 41), columns as `features.vectors.shelf.FEATURES`.
        shelves: rows of which something is asked for the next hours, int64 of shape (s,), ascending.
    """

    features: NDArray[np.float32]
    on_hand: NDArray[np.float64]
    arriving: NDArray[np.float64]
    simulated: NDArray[np.bool_]
    shelf: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, len(shelf.FEATURES)), np.float32))
    shelves: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def stockout_rows(
    items: EntityTable, slots: Slots, as_of_ms: Times, lead_time_days: NDArray[np.float64]
) -> StockoutRows:
    """Assembles the rows of the items at `slots` as of event times `as_of_ms` (both of shape (n,))."""
    demand = items.read("item_demand", slots, as_of_ms)
    tiles, state, at = items.part("item_demand", "units", slots, as_of_ms)
    daily = tiles.daily(state, at, as_of_ms, _DAILY)
    angle = 2 * np.pi * ((as_of_ms // DAY_MS + 3) % 7) / 7  # 1970-01-01 was a Thursday; Monday is 0
    columns = [demand[name] for name in list(FEATURES)[:8]]
    columns += [daily.std(axis=1), daily.max(axis=1), (daily > 0).sum(axis=1)]
    columns += [demand["demand_last_age_days"], demand["demand_first_age_days"], np.sin(angle), np.cos(angle)]
    stock, stock_state, at = items.part("item_stock", "stock", slots, as_of_ms)
    until = as_of_ms + (lead_time_days * DAY_MS).astype(np.int64)
    return StockoutRows(
        features=np.column_stack(columns).astype(np.float32),
        on_hand=_on_hand(items, slots, as_of_ms),
        arriving=stock.arriving(stock_state, at, until),
        simulated=stock_state["simulated"][at] != 0,
    )


def with_shelves(
    rows: StockoutRows,
    items: EntityTable,
    slots: Slots,
    as_of_ms: Times,
    region: Callable[[NDArray[np.int64], Times], NDArray[np.float32]],
) -> StockoutRows:
    """The rows with those of the next hours, where something is asked.

    Args:
        rows: of the items at `slots` as of `as_of_ms`.
        items, slots, as_of_ms: as given to `stockout_rows`.
        region: of rows, and of as-of times of as many, what their regions say, float32 of shape (s, 18).
    """
    at = np.flatnonzero(shelf.asked(items, slots, as_of_ms))
    when = as_of_ms[at]
    told = shelf.shelf_rows(items, slots[at], when, region(at, when + 1) if len(at) else None)
    return replace(rows, shelf=told, shelves=at)


def _on_hand(items: EntityTable, slots: Slots, as_of_ms: Times) -> NDArray[np.float64]:
    """Counted and moved, less the demand of the days after the count (a count is taken after close of business)."""
    _, stock, at = items.part("item_stock", "stock", slots, as_of_ms)
    counted_day = stock["counted_ms"][at] // DAY_MS
    days = (as_of_ms // DAY_MS - counted_day)[:, None]
    tiles, demand, at = items.part("item_demand", "units", slots, as_of_ms)
    since = tiles.sums(demand, at, as_of_ms, np.zeros_like(days), days - 1)[:, 0]
    shelf = items.read("item_stock", slots, as_of_ms)["stock_before_demand"]
    return np.asarray(np.maximum(shelf - since, 0.0))  # NaN stays NaN
