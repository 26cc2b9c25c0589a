"""Deliveries within the lead time: a shelf is lowest just before each, and may be empty then though more is on its way.

Whether the demand over the lead time is more than what is on hand and arriving says whether an order placed now comes
too late. It does not say whether the shelf runs empty before a delivery that is already on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BeforeDeliveries:
    """Times at which shelves are lowest before the lead time is over, to ask a model of demand of.

    Args:
        row: of the item, int64 of shape (m,), ascending.
        days: from now until then, float64 of shape (m,), at least 1.
        position: units that are there by then if nothing is asked for: on hand and delivered before, float64 of
            shape (m,). Of a time within a day it is so many times more as that time goes into the day: models tell the
            demand of whole days, and demand is taken to be in proportion to the time below that.
    """

    row: NDArray[np.int64]
    days: Floats
    position: Floats


def open_orders(items: EntityTable, slots: Slots, as_of_ms: Times) -> tuple[Floats, Floats]:
    """Units of the open purchase orders of items and the days until each is due, float64 of shape (n, orders) each.

    The one due first comes first; NaN where there is none, below 0 where it is overdue.
    """
    stock, state, at = items.part("item_stock", "stock", slots, as_of_ms)
    lists = stock.read_lists(state, at, as_of_ms)
    return lists["stock_order_units"], lists["stock_order_due_days"]


def before_deliveries(units: Floats, due_days: Floats, on_hand: Floats, lead_time_days: Floats) -> BeforeDeliveries:
    """The times just before each delivery that is due within the lead time, of items that are on hand.

    What is overdue counts as delivered, as it does in a position; deliveries at the same time are one.

    Args:
        units, due_days: as `open_orders` gives them.
        on_hand: units, of shape (n,); NaN where never counted.
        lead_time_days: of shape (n,).

    >>> before_deliveries(np.array([[5.0, 9.0]]), np.array([[0.5, 4.0]]), np.array([3.0]), np.array([7.0]))
    BeforeDeliveries(row=array([0, 0]), days=array([1., 4.]), position=array([6., 8.]))
    """
    before = np.nan_to_num(units).cumsum(axis=1) - np.nan_to_num(units) + on_hand[:, None]
    earlier = np.column_stack([np.zeros(len(due_days)), due_days[:, :-1]])
    lowest = (due_days > np.maximum(earlier, 0.0)) & (due_days <= lead_time_days[:, None]) & (on_hand > 0)[:, None]
    row, order = np.nonzero(lowest)
    days = due_days[row, order]
    return BeforeDeliveries(row, np.maximum(days, 1.0), before[row, order] / np.minimum(days, 1.0))


def p_empty(p_stockout: Floats, on_hand: Floats, lowest: BeforeDeliveries, p_lowest: Floats) -> Floats:
    """P(the shelf is empty at some time before an order placed now could arrive), float64 of shape (n,).

    Demand until one of those times is a part of that until a later one. If they hung together entirely, the shelf would
    last as often as at the worst of them; if not at all, the product of all. What is told is the geometric mean of
    both (docs/research/stockout.md). 1 where it is empty now; NaN where the stock was never counted.

    Args:
        p_stockout: P(demand over the lead time > on hand + arriving), of shape (n,).
        on_hand: units, of shape (n,).
        lowest: from `before_deliveries`.
        p_lowest: P(demand until each of its times > position), of shape (m,).

    >>> one = BeforeDeliveries(np.array([0]), np.array([2.0]), np.array([4.0]))
    >>> p_empty(np.array([0.36, 0.2, 0.2]), np.array([4.0, 0.0, np.nan]), one, np.array([0.36])).round(3)
    array([0.488, 1.   ,   nan])
    """
    worst, together = 1.0 - p_stockout, 1.0 - p_stockout
    np.minimum.at(worst, lowest.row, 1.0 - p_lowest)
    np.multiply.at(together, lowest.row, 1.0 - p_lowest)
    told = np.where(on_hand <= 0, 1.0, 1.0 - np.sqrt(worst * together))
    return np.where(np.isnan(on_hand), np.nan, told)
