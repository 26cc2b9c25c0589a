"""Stock position: what an item's inventory events say is on the shelf and on its way.

The demand that has left the shelf since the last count is not here but in the view `item_demand`: the two topics
arrive in no given order, so each view folds its own, and `features.vectors.stockout` subtracts on read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import (
    Aggregation,
    Columns,
    Field,
    Slots,
    State,
    Times,
    age_days,
    kernel,
)
from features.rows import FIXED_POINT, InventoryKind

_COUNTED = int(InventoryKind.STOCK_COUNTED)
_RECEIVED = int(InventoryKind.STOCK_RECEIVED)
_ADJUSTED = int(InventoryKind.STOCK_ADJUSTED)
_ORDERED = int(InventoryKind.PURCHASE_ORDER_PLACED)
_SOLD = int(InventoryKind.UNITS_SOLD)
_RAN_OUT = int(InventoryKind.RAN_OUT)
_RESTOCKED = int(InventoryKind.RESTOCKED)


@kernel
def _place_order(open_q: Any, expected: Any, reference: Any, s: int, q: int, at: int, ref: Any) -> None:
    """Takes the first free place, or that of the order expected longest ago."""
    place = 0
    for j in range(open_q.shape[1]):
        if open_q[s, j] == 0:
            place = j
            break
        if expected[s, j] < expected[s, place]:
            place = j
    open_q[s, place] = q
    expected[s, place] = at
    reference[s, place] = ref


@kernel
def _receive(open_q: Any, reference: Any, s: int, q: int, ref: Any) -> None:
    """A delivery lowers the order it names."""
    for j in range(open_q.shape[1]):
        if open_q[s, j] > 0 and reference[s, j] == ref and ref != 0:
            open_q[s, j] = max(open_q[s, j] - q, 0)
            return


@kernel
def _update(
    counted: Any,
    counted_ms: Any,
    moved: Any,
    open_q: Any,
    expected: Any,
    reference: Any,
    ran_out_ms: Any,
    restocked_ms: Any,
    ran_out_n: Any,
    simulated: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    quantities: Any,
    expected_at: Any,
    references: Any,
    simulated_rows: Any,
) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        kind = kinds[i]
        t = times[i]
        q = quantities[i]
        if simulated_rows[i] != 0:
            simulated[s] = 1
        if kind == _COUNTED:
            if t >= counted_ms[s]:
                counted[s] = q
                counted_ms[s] = t
                moved[s] = 0
        elif kind == _RECEIVED:
            if t > counted_ms[s]:
                moved[s] += q
            _receive(open_q, reference, s, q, references[i])
        elif kind == _ADJUSTED:
            if t > counted_ms[s]:
                moved[s] += q
        elif kind == _SOLD:
            if t > counted_ms[s]:
                moved[s] -= q
        elif kind == _ORDERED:
            _place_order(open_q, expected, reference, s, q, expected_at[i], references[i])
        elif kind == _RAN_OUT:
            ran_out_ms[s] = max(ran_out_ms[s], t)
            ran_out_n[s] += 1
        elif kind == _RESTOCKED:
            restocked_ms[s] = max(restocked_ms[s], t)


@dataclass(frozen=True)
class StockPosition(Aggregation):
    """Last count, net movement since, and up to `orders` open purchase orders."""

    orders: int = 4

    def fields(self) -> list[Field]:
        """Quantities in thousandths, times in ms; simulated is 1 once any event was."""
        return [
            Field("counted", "i8"),
            Field("counted_ms", "i8"),
            Field("moved", "i8"),
            Field("open", "i8", self.orders),
            Field("expected_ms", "i8", self.orders),
            Field("reference", "u8", self.orders),
            Field("ran_out_ms", "i8"),
            Field("restocked_ms", "i8"),
            Field("ran_out_n", "u4"),
            Field("simulated", "u4"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Applies inventory events."""
        _update(
            state["counted"],
            state["counted_ms"],
            state["moved"],
            state["open"],
            state["expected_ms"],
            state["reference"],
            state["ran_out_ms"],
            state["restocked_ms"],
            state["ran_out_n"],
            state["simulated"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["quantity"],
            columns["expected_at_ms"],
            columns["reference"],
            columns["simulated"],
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The position before demand since the count."""
        counted = state["counted_ms"][slots] > 0
        shelf = (state["counted"][slots] + state["moved"][slots]) / FIXED_POINT
        return {
            f"{self.name}_counted_age_days": age_days(state["counted_ms"][slots], as_of_ms),
            f"{self.name}_before_demand": np.where(counted, shelf, np.nan),
            f"{self.name}_on_order": state["open"][slots].sum(axis=1) / FIXED_POINT,
            f"{self.name}_ran_out_age_days": age_days(state["ran_out_ms"][slots], as_of_ms),
            f"{self.name}_times_ran_out": state["ran_out_n"][slots].astype(np.float64),
            f"{self.name}_simulated": state["simulated"][slots].astype(np.float64),
        }

    def arriving(self, state: State, slots: Slots, until_ms: Times) -> NDArray[np.float64]:
        """Units on order that are expected at or before `until_ms`, float64 of shape (n,)."""
        due = state["expected_ms"][slots] <= until_ms[:, None]
        return np.asarray(np.where(due, state["open"][slots], 0).sum(axis=1) / FIXED_POINT)

    def describe(self) -> dict[str, str]:
        """Six columns."""
        return {
            f"{self.name}_counted_age_days": "days since the stock was counted (NaN: never)",
            f"{self.name}_before_demand": "units counted, received and adjusted since, demand not yet taken off",
            f"{self.name}_on_order": "units on open purchase orders",
            f"{self.name}_ran_out_age_days": "days since the shelf was last empty (NaN: never)",
            f"{self.name}_times_ran_out": "how often the shelf has been empty",
            f"{self.name}_simulated": "1 where any inventory event was simulated",
        }
