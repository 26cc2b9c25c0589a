"""Stock position: what an item's inventory events say is on the shelf and on its way.

The demand that has left the shelf since the last count is not here but in the view `item_demand`: the two topics
arrive in no given order, so each view folds its own, and `features.vectors.stockout` subtracts on read.

A count says what was there at its event time; movements after that add up. The newest `movements` of them by event time
are kept one by one, so that a count that arrives late takes off only those it has seen: exact while at most so many
movements that are stamped after it arrived before it. Of more, the oldest ones are lost with it. Their quantities have
48 bits (±1.4e11 units). A count older than one
already taken in changes nothing, and neither does a movement that is not newer than the count.

A delivery that names an open purchase order lowers it, and the rest stays open. The first delivery of each order gives
a lead time. An order takes the place of the one expected longest ago where all places are taken. Expected and order
times are whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Columns, Field, Slots, State, Times, age_days, kernel
from features.aggregations.seconds import second_age_days
from features.aggregations.words import WORDS, get48, set48
from features.rows import FIXED_POINT, InventoryKind

_COUNTED = int(InventoryKind.STOCK_COUNTED)
_RECEIVED = int(InventoryKind.STOCK_RECEIVED)
_ADJUSTED = int(InventoryKind.STOCK_ADJUSTED)
_ORDERED = int(InventoryKind.PURCHASE_ORDER_PLACED)
_SOLD = int(InventoryKind.UNITS_SOLD)
_RAN_OUT = int(InventoryKind.RAN_OUT)
_RESTOCKED = int(InventoryKind.RESTOCKED)
_LAST_SECOND = 2**32 - 1


@kernel
def _place_order(
    open_q: Any, expected: Any, ordered: Any, reference: Any, s: int, q: int, due_s: int, now_s: int, ref: Any
) -> None:
    """Takes the first free place, or that of the order expected longest ago."""
    place = 0
    for j in range(open_q.shape[1]):
        if open_q[s, j] == 0:
            place = j
            break
        if expected[s, j] < expected[s, place]:
            place = j
    open_q[s, place] = q
    expected[s, place] = min(max(due_s, 0), 4294967295)
    ordered[s, place] = now_s
    reference[s, place] = ref


@kernel
def _receive(
    open_q: Any, ordered: Any, reference: Any, lead: Any, leads: Any, total: Any, s: int, q: int, now_s: int, ref: Any
) -> None:
    """A delivery lowers the first order that it names; the first delivery of an order tells the lead time."""
    for j in range(open_q.shape[1]):
        if open_q[s, j] > 0 and reference[s, j] == ref and ref != 0:
            if ordered[s, j] != 0:
                seconds = max(now_s - np.int64(ordered[s, j]), 0)
                lead[s] = seconds
                leads[s] += np.uint32(1)
                total[s] += seconds
                ordered[s, j] = 0
            open_q[s, j] = max(open_q[s, j] - q, 0)
            return


@kernel
def _move(moved: Any, move_ms: Any, move_q: Any, s: int, t: int, q: int) -> None:
    """Keeps a movement, or adds the oldest to what cannot be told apart any more."""
    oldest = 0
    low = get48(move_ms, s, 0)
    for j in range(1, move_ms.shape[1] // 3):
        at = get48(move_ms, s, j)
        if at < low:
            oldest, low = j, at
    if t < low:
        moved[s] += q
        return
    moved[s] += get48(move_q, s, oldest)
    set48(move_ms, s, oldest, t)
    set48(move_q, s, oldest, q)


@kernel
def _count(moved: Any, move_ms: Any, move_q: Any, s: int, t: int) -> None:
    """Takes off the movements that a count at `t` has seen."""
    moved[s] = 0
    for j in range(move_ms.shape[1] // 3):
        if get48(move_ms, s, j) <= t:
            set48(move_ms, s, j, 0)
            set48(move_q, s, j, 0)


@kernel
def _update(
    counted: Any,
    counted_ms: Any,
    moved: Any,
    move_ms: Any,
    move_q: Any,
    open_q: Any,
    expected: Any,
    ordered: Any,
    reference: Any,
    lead: Any,
    leads: Any,
    lead_total: Any,
    ran_out: Any,
    restocked: Any,
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
                _count(moved, move_ms, move_q, s, t)
        elif kind in (_RECEIVED, _ADJUSTED, _SOLD):
            if t > counted_ms[s]:
                _move(moved, move_ms, move_q, s, t, -q if kind == _SOLD else q)
            if kind == _RECEIVED:
                _receive(open_q, ordered, reference, lead, leads, lead_total, s, q, t // 1000, references[i])
        elif kind == _ORDERED:
            due = expected_at[i] // 1000
            _place_order(open_q, expected, ordered, reference, s, q, due, t // 1000, references[i])
        elif kind == _RAN_OUT:
            ran_out[s] = max(np.int64(ran_out[s]), t // 1000)
            ran_out_n[s] = min(np.int64(ran_out_n[s]) + 1, 65535)
        elif kind == _RESTOCKED:
            restocked[s] = max(np.int64(restocked[s]), t // 1000)


@dataclass(frozen=True)
class StockPosition(Aggregation):
    """Last count, net movement since, up to `orders` open purchase orders, and the lead times of suppliers.

    Args:
        orders: places for open purchase orders, at least two.
        movements: how many of the newest movements are told apart, at least two.
    """

    orders: int = 4
    movements: int = 6
    undone: ClassVar[str] = (
        "Takes inventory events: a correction is an event of its own (stock_adjusted). An open purchase order cannot "
        "be cancelled; it gives way to newer ones."
    )

    def __post_init__(self) -> None:
        if min(self.orders, self.movements) < 2:
            raise ValueError(f"stock position {self.name!r}: orders and movements have at least two places")

    def fields(self) -> list[Field]:
        """Quantities in thousandths; movements as 48-bit times in ms and quantities; simulated is 1 once any was."""
        return [
            Field("leads", "u4"),
            Field("counted", "i8"),
            Field("counted_ms", "i8"),
            Field("moved", "i8"),
            Field("lead_total_s", "i8"),
            Field("open", "i8", self.orders),
            Field("reference", "u8", self.orders),
            Field("expected_s", "u4", self.orders),
            Field("ordered_s", "u4", self.orders),
            Field("lead_s", "u4"),
            Field("ran_out_s", "u4"),
            Field("restocked_s", "u4"),
            Field("move_ms", "u2", WORDS * self.movements),
            Field("move_q", "u2", WORDS * self.movements),
            Field("ran_out_n", "u2"),
            Field("simulated", "u1"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Applies inventory events."""
        _update(
            state["counted"],
            state["counted_ms"],
            state["moved"],
            state["move_ms"],
            state["move_q"],
            state["open"],
            state["expected_s"],
            state["ordered_s"],
            state["reference"],
            state["lead_s"],
            state["leads"],
            state["lead_total_s"],
            state["ran_out_s"],
            state["restocked_s"],
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
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The position before demand since the count."""
        leads = state["leads"][slots].astype(np.float64)
        mean_s = state["lead_total_s"][slots] / np.maximum(leads, 1)
        last_s = state["lead_s"][slots].astype(np.float64)
        return {
            f"{self.name}_counted_age_days": age_days(state["counted_ms"][slots], as_of_ms),
            f"{self.name}_before_demand": self._shelf(state, slots),
            f"{self.name}_on_order": state["open"][slots].sum(axis=1) / FIXED_POINT,
            f"{self.name}_ran_out_age_days": second_age_days(state["ran_out_s"][slots], as_of_ms),
            f"{self.name}_restocked_age_days": second_age_days(state["restocked_s"][slots], as_of_ms),
            f"{self.name}_times_ran_out": state["ran_out_n"][slots].astype(np.float64),
            f"{self.name}_lead_time_last_days": np.where(leads > 0, last_s * 1000 / DAY_MS, np.nan),
            f"{self.name}_lead_time_mean_days": np.where(leads > 0, mean_s * 1000 / DAY_MS, np.nan),
            f"{self.name}_simulated": state["simulated"][slots].astype(np.float64),
        }

    def _shelf(self, state: State, slots: Slots) -> NDArray[np.float64]:
        out = np.empty(len(slots), np.float64)
        _shelf(state["counted"], state["counted_ms"], state["moved"], state["move_q"], slots, out)
        return out

    def arriving(self, state: State, slots: Slots, until_ms: Times) -> NDArray[np.float64]:
        """Units on order that are expected at or before `until_ms`, float64 of shape (n,)."""
        due = state["expected_s"][slots].astype(np.int64) * 1000 <= until_ms[:, None]
        return np.asarray(np.where(due, state["open"][slots], 0).sum(axis=1) / FIXED_POINT)

    def describe(self) -> dict[str, str]:
        """Nine columns."""
        return {
            f"{self.name}_counted_age_days": "days since the stock was counted (NaN: never)",
            f"{self.name}_before_demand": "units counted, received and adjusted since, demand not yet taken off",
            f"{self.name}_on_order": "units on open purchase orders",
            f"{self.name}_ran_out_age_days": "days since the shelf was last empty (NaN: never)",
            f"{self.name}_restocked_age_days": "days since an empty shelf was last filled (NaN: never)",
            f"{self.name}_times_ran_out": "how often the shelf has been empty, at most 65,535",
            f"{self.name}_lead_time_last_days": "days from order to first delivery, of the latest delivery (NaN: none)",
            f"{self.name}_lead_time_mean_days": "days from order to first delivery, mean (NaN: none)",
            f"{self.name}_simulated": "1 where any inventory event was simulated",
        }

    def read_lists(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[Any]]:
        """Open purchase orders, the one expected first first."""
        units, expected = state["open"][slots], state["expected_s"][slots].astype(np.int64)
        held = units > 0
        order = np.argsort(np.where(held, expected, _LAST_SECOND + 1), axis=1, kind="stable")
        due = (expected * 1000 - as_of_ms[:, None]) / DAY_MS
        lists = {"order_units": units / FIXED_POINT, "order_due_days": due}
        masked = {name: np.where(held, column, np.nan) for name, column in lists.items()}
        return {f"{self.name}_{name}": np.take_along_axis(column, order, axis=1) for name, column in masked.items()}

    def describe_lists(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_order_units": "units that each open purchase order has yet to bring (NaN: none)",
            f"{self.name}_order_due_days": "days until each is expected, below 0 where overdue (NaN: none)",
        }


@kernel
def _shelf(counted: Any, counted_ms: Any, moved: Any, move_q: Any, slots: Any, out: Any) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        total = counted[s] + moved[s]
        for j in range(move_q.shape[1] // 3):
            total += get48(move_q, s, j)
        out[i] = total / 1000.0 if counted_ms[s] > 0 else np.nan
