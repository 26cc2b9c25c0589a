"""Shelf: what sells of an item by the hour, and how much of a day was sold when it ran out.

Kept are the units of the last six hours, of today and since the last restock, a usual day, and the levels at which it
ran out. A day is UTC; one of which nothing is told is not a usual day, and not a day without sales either.

Units of an hour that come after it ran out in that hour were sold before that: they raise the level. Of a row that is
older than six hours nothing but its day is known any more, and one of an earlier day is too late. Quantities are in
thousandths and stay within ±2.1 million units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, HOUR_MS, Aggregation, Columns, Field, Slots, State, Times, kernel
from features.rows import FIXED_POINT, InventoryKind

_SOLD = int(InventoryKind.UNITS_SOLD)
_RAN_OUT = int(InventoryKind.RAN_OUT)
_RESTOCKED = int(InventoryKind.RESTOCKED)
_DAY_HOURS = 24
#: Hours that are told apart, and what `late` is the sum of.
HOURS = 6
#: Half-life of what is usual.
USUAL_DAYS = 14.0
_KEEP = 0.5 ** (1.0 / USUAL_DAYS)
#: What a level weighs against those before it.
_NEWEST = 0.25
_MOST = 2**31 - 1


@kernel
def _add(held: Any, s: int, units: int) -> None:
    held[s] = min(max(np.int64(held[s]) + units, -_MOST), _MOST)


@kernel
def _late(hours: Any, head: Any, s: int) -> Any:
    """Units of the last hours of the day of `head`."""
    total: Any = 0
    for back in range(HOURS):
        if head % _DAY_HOURS >= back:
            total += np.int64(hours[s, (head - back) % HOURS])
    return min(max(total, -_MOST), _MOST)


@kernel
def _advance(hours: Any, head: Any, today: Any, late: Any, usual: Any, days: Any, s: int, hour: int) -> None:
    """Goes on to a later hour: what is over of today goes into what is usual."""
    before = np.int64(head[s])
    if before > 0 and hour // _DAY_HOURS > before // _DAY_HOURS:
        late[s] = _late(hours, before, s)
        usual[s] = np.float64(usual[s]) * _KEEP + today[s] / FIXED_POINT
        days[s] = np.float64(days[s]) * _KEEP + 1.0
        today[s] = 0
    for k in range(HOURS):
        if hour - k > before:
            hours[s, (hour - k) % HOURS] = 0
    head[s] = hour


@kernel
def _update(
    hours: Any,
    head: Any,
    sale: Any,
    today: Any,
    since: Any,
    late: Any,
    usual: Any,
    days: Any,
    level: Any,
    levels: Any,
    out: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    quantities: Any,
) -> int:
    too_late = 0
    for i in range(slots.shape[0]):
        kind = kinds[i]
        if kind not in (_SOLD, _RAN_OUT, _RESTOCKED):
            continue
        s = slots[i]
        hour = times[i] // HOUR_MS
        if hour > head[s]:
            _advance(hours, head, today, late, usual, days, s, hour)
        if hour // _DAY_HOURS < np.int64(head[s]) // _DAY_HOURS:
            too_late += 1
        elif kind == _RAN_OUT:
            if out[s] == 0:
                if level[s] > 0:
                    earlier = np.float64(levels[s])
                    levels[s] = earlier + _NEWEST * (level[s] - earlier) if earlier > 0 else np.float64(level[s])
                level[s] = today[s]
                out[s] = 1
        elif kind == _RESTOCKED:
            since[s] = 0
            out[s] = 0
        elif quantities[i] != 0:
            q = quantities[i]
            if hour > np.int64(head[s]) - HOURS:
                units = np.int64(hours[s, hour % HOURS]) + q
                hours[s, hour % HOURS] = min(max(units, -_MOST), _MOST)
            sale[s] = max(np.int64(sale[s]), hour)
            _add(today, s, q)
            _add(since, s, q)
            if out[s] == 1:
                _add(level, s, q)
    return too_late


@kernel
def _read(
    hours: Any,
    head: Any,
    sale: Any,
    today: Any,
    since: Any,
    late: Any,
    usual: Any,
    days: Any,
    level: Any,
    levels: Any,
    slots: Any,
    as_of: Any,
    ended: bool,
    out: Any,
) -> None:
    """out: the columns of `Shelf.describe`, (n, 11); `ended`: a day that is over by then counts though nothing came."""
    for i in range(slots.shape[0]):
        s = slots[i]
        top = np.int64(head[s])
        if top == 0:
            out[i, :7], out[i, 7:] = 0.0, np.nan
            continue
        now = as_of[i] // HOUR_MS
        total: Any = 0
        for back in range(HOURS):
            if now - back <= top and now - back > top - HOURS:
                total += np.int64(hours[s, (now - back) % HOURS])
            if back < 3:
                out[i, back] = total / FIXED_POINT
        out[i, 3] = total / FIXED_POINT
        over = now // _DAY_HOURS > top // _DAY_HOURS
        out[i, 4] = 0.0 if over else today[s] / FIXED_POINT
        over = over and ended
        out[i, 5] = since[s] / FIXED_POINT
        out[i, 6] = (_late(hours, top, s) if over else late[s]) / FIXED_POINT
        units, weight = np.float64(usual[s]), np.float64(days[s])
        if over:
            units, weight = units * _KEEP + today[s] / FIXED_POINT, weight * _KEEP + 1.0
        out[i, 7] = units / weight if weight > 0 else np.nan
        out[i, 8] = level[s] / FIXED_POINT if level[s] > 0 else np.nan
        out[i, 9] = levels[s] / FIXED_POINT if levels[s] > 0 else np.nan
        sold_ms = np.int64(sale[s]) * HOUR_MS
        out[i, 10] = max(as_of[i] - sold_ms, 0) / DAY_MS if sold_ms > 0 else np.nan


@dataclass(frozen=True)
class Shelf(Aggregation):
    """Units sold by the hour, today, since the last restock and on a usual day; levels at which it ran out."""

    undone: ClassVar[str] = "Takes inventory events: units that came back are a sale of less than nothing."

    def fields(self) -> list[Field]:
        """Units in thousandths, but for the usual day; hours are counted from 1970, and 0 is none."""
        return [
            Field("hours", "i4", HOURS),
            Field("head_h", "u4"),
            Field("sale_h", "u4"),
            Field("today", "i4"),
            Field("since", "i4"),
            Field("late", "i4"),
            Field("usual", "f4"),
            Field("days", "f4"),
            Field("level", "i4"),
            Field("levels", "f4"),
            Field("out", "u1"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Applies inventory events; those of a day before the newest are too late."""
        return _update(
            state["hours"],
            state["head_h"],
            state["sale_h"],
            state["today"],
            state["since"],
            state["late"],
            state["usual"],
            state["days"],
            state["level"],
            state["levels"],
            state["out"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["quantity"],
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """As of the hour that `as_of_ms` is in, which counts as it stands; windows leave later hours out."""
        return self._read(state, slots, as_of_ms, ended=False)

    def read_ended(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """As `read`, but the newest day that was told of is one of those before if it is over by then."""
        return self._read(state, slots, as_of_ms, ended=True)

    def _read(self, state: State, slots: Slots, as_of_ms: Times, ended: bool) -> dict[str, NDArray[np.float64]]:
        names = list(self.describe())
        out = np.empty((len(slots), len(names)), np.float64)
        _read(
            state["hours"],
            state["head_h"],
            state["sale_h"],
            state["today"],
            state["since"],
            state["late"],
            state["usual"],
            state["days"],
            state["level"],
            state["levels"],
            slots,
            as_of_ms,
            ended,
            out,
        )
        return {name: out[:, column] for column, name in enumerate(names)}

    def describe(self) -> dict[str, str]:
        """Eleven columns."""
        return {
            f"{self.name}_sold_1h": "units sold this hour",
            f"{self.name}_sold_2h": "units sold in this hour and the one before",
            f"{self.name}_sold_3h": "units sold in this hour and the 2 before",
            f"{self.name}_sold_{HOURS}h": f"units sold in this hour and the {HOURS - 1} before",
            f"{self.name}_sold_1d": "units sold today (UTC)",
            f"{self.name}_sold_since_restock": "units sold since an empty shelf was last filled, or ever",
            f"{self.name}_sold_late": f"units of the last {HOURS} hours of the day before the newest that was told of",
            f"{self.name}_usual_day": f"mean units of the days before that, half-life {USUAL_DAYS:g} days (NaN: none)",
            f"{self.name}_level_last": "units of the day that were sold when it last ran out (NaN: none)",
            f"{self.name}_level_before": "the same of the times before, newer ones weigh more (NaN: none)",
            f"{self.name}_sale_age_days": "days since the beginning of the last hour with a sale (NaN: none)",
        }
