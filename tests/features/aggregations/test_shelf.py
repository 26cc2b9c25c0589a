from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Shelf
from features.aggregations.base import DAY_MS, HOUR_MS
from features.rows import InventoryKind as Kind
from tests.features.streams import START_MS, Event, alone, assert_close, folded, newest_ms, read, seeded, streams

#: The usual day and the levels before are four-byte floats.
RELATIVE = 1e-6
SHELF = Shelf("shelf", "what it sells by the hour", (Kind.UNITS_SOLD, Kind.RAN_OUT, Kind.RESTOCKED))


def day_of(event: Event) -> int:
    return event.time_ms // DAY_MS


def hour_of(event: Event) -> int:
    return event.time_ms // HOUR_MS


def taken_in(shelf: Shelf, events: Sequence[Event]) -> list[Event]:
    """Without events of other kinds, and of days before the newest one seen."""
    kept: list[Event] = []
    newest = 0
    for event in events:
        if event.kind in shelf.where:
            newest = max(newest, hour_of(event))
            if day_of(event) >= newest // 24:
                kept.append(event)
    return kept


def levels(kept: Sequence[Event]) -> tuple[float, float]:
    """At what the day's sales stood when it last ran out, and the times before; sales while it is out count as well."""
    found: list[float] = []
    out, today, day = False, 0, 0
    for event in kept:
        if day_of(event) > day:
            today, day = 0, day_of(event)
        if event.kind == Kind.UNITS_SOLD:
            today += event["quantity"]
            if out:
                found[-1] += event["quantity"]
        elif event.kind == Kind.RESTOCKED:
            out = False
        elif not out:
            if found and found[-1] <= 0:
                found.pop()
            found.append(today)
            out = True
    before = math.nan
    for level in found[:-1]:
        if level > 0:
            before = level if math.isnan(before) else np.float64(np.float32(before + 0.25 * (level - before)))
    last = found[-1] / 1000 if found and found[-1] > 0 else math.nan
    return last, before / 1000


def oracle(shelf: Shelf, events: Sequence[Event], as_of_ms: int, ended: bool = False) -> dict[str, float]:
    kept = taken_in(shelf, events)
    if not kept:
        names = list(shelf.describe())
        return dict.fromkeys(names[:7], 0.0) | dict.fromkeys(names[7:], math.nan)
    sold = [e for e in kept if e.kind == Kind.UNITS_SOLD]
    now, newest = as_of_ms // HOUR_MS, max(hour_of(e) for e in kept)

    def units(of: Sequence[Event]) -> float:
        return sum(e["quantity"] for e in of) / 1000

    def within(hours: int) -> float:
        """Of late sales, those of hours that were still told apart when they came."""
        total, top = 0, 0
        for e in kept:
            top = max(top, hour_of(e))
            if e.kind == Kind.UNITS_SOLD and now - hours < hour_of(e) <= now and top - 6 < hour_of(e):
                total += e["quantity"] if hour_of(e) > newest - 6 else 0
        return total / 1000

    days = sorted({day_of(e) for e in kept})
    over = days if ended and days[-1] < now // 24 else days[:-1]
    total = weight = 0.0
    for day in over:
        total = total * 0.5 ** (1 / 14) + units([e for e in sold if day_of(e) == day])
        weight = weight * 0.5 ** (1 / 14) + 1
    since = [i for i, e in enumerate(kept) if e.kind == Kind.RESTOCKED]
    last, before = levels(kept)
    return {
        "shelf_sold_1h": within(1),
        "shelf_sold_2h": within(2),
        "shelf_sold_3h": within(3),
        "shelf_sold_6h": within(6),
        "shelf_sold_1d": units([e for e in sold if day_of(e) == days[-1] >= now // 24]),
        "shelf_sold_since_restock": units([e for e in kept[since[-1] if since else 0 :] if e.kind == Kind.UNITS_SOLD]),
        "shelf_sold_late": late(kept, over),
        "shelf_usual_day": total / weight if weight else math.nan,
        "shelf_level_last": last,
        "shelf_level_before": before,
        "shelf_sale_age_days": max(as_of_ms - max(map(hour_of, sold)) * HOUR_MS, 0) / DAY_MS if sold else math.nan,
    }


def late(kept: Sequence[Event], over: Sequence[int]) -> float:
    """The six hours up to the last that was told of on the last day that is over."""
    if not over:
        return 0.0
    that = [e for e in kept if day_of(e) == over[-1]]
    end = max(hour_of(e) for e in that)
    total, top = 0, 0
    for e in that:
        top = max(top, hour_of(e))
        if e.kind == Kind.UNITS_SOLD and end - 6 < hour_of(e) and hour_of(e) > top - 6:
            total += e["quantity"]
    return total / 1000


@given(streams("inventory", max_size=60), st.integers(-10, 24 * 40))
@seeded
def test_equals_the_oracle(events: list[Event], hours: int) -> None:
    as_of = newest_ms(events) + hours * HOUR_MS
    assert_close(read(alone(SHELF, "inventory"), events, as_of), oracle(SHELF, events, as_of), RELATIVE)
    assert_close(ended(events, as_of), oracle(SHELF, events, as_of, ended=True), RELATIVE)


def ended(events: list[Event], as_of_ms: int) -> dict[str, float]:
    view = alone(SHELF, "inventory")
    part, state, slots = view.part(folded(view, events)[1], "shelf", np.zeros(1, np.int64), np.array([as_of_ms]))
    return {name: float(column[0]) for name, column in part.read_ended(state, slots, np.array([as_of_ms])).items()}


def sale(hour: float, units: float) -> Event:
    return Event(Kind.UNITS_SOLD, START_MS + int(hour * HOUR_MS), values={"quantity": int(units * 1000)})


def turn(kind: Kind, hour: float) -> Event:
    return Event(kind, START_MS + int(hour * HOUR_MS))


def told(events: list[Event], as_of_hour: float) -> dict[str, float]:
    return read(alone(SHELF, "inventory"), events, START_MS + int(as_of_hour * HOUR_MS))


def test_a_day_on_which_it_ran_out_is_a_level() -> None:
    events = [sale(8, 2), sale(9, 1), turn(Kind.RAN_OUT, 10), sale(10.5, 0.5), turn(Kind.RESTOCKED, 14), sale(15, 4)]
    found = told(events, 15)
    assert found["shelf_level_last"] == 3.5  # what was sold in the hour in which it ran out came before that
    assert math.isnan(found["shelf_level_before"])
    assert (found["shelf_sold_1d"], found["shelf_sold_since_restock"]) == (7.5, 4.0)
    assert found["shelf_sold_1h"] == 4.0


def test_the_evening_before_is_known_in_the_morning() -> None:
    events = [sale(14, 1), sale(17, 2), sale(20, 4), sale(24 + 7, 1)]
    morning = START_MS + (24 + 7) * HOUR_MS
    assert told(events, 24 + 7)["shelf_sold_late"] == 6.0
    assert ended(events[:3], morning)["shelf_sold_late"] == 6.0  # also before anything is told of the day
    assert ended(events[:3], morning)["shelf_usual_day"] == told(events, 24 + 7)["shelf_usual_day"] == 7.0


def test_a_sale_of_the_day_before_is_too_late() -> None:
    assert told([sale(30, 1), sale(20, 5)], 30)["shelf_sold_1d"] == 1.0


@pytest.mark.parametrize("units", [1e9, -1e9])
def test_quantities_stay_in_range(units: float) -> None:
    found = told([sale(8, units)] * 3, 8)
    assert abs(found["shelf_sold_1d"]) == pytest.approx(2_147_483.647)


def test_nothing_told_is_unknown() -> None:
    view = alone(SHELF, "inventory")
    found = view.read(view.empty(1), np.zeros(1, np.int64), np.array([START_MS]))
    unknown = [name for name, column in found.items() if np.isnan(column).all()]
    assert unknown == ["shelf_usual_day", "shelf_level_last", "shelf_level_before", "shelf_sale_age_days"]
