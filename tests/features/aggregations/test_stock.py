from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import StockPosition
from features.aggregations.base import DAY_MS
from features.rows import InventoryKind as Kind
from tests.features.streams import START_MS, Event, alone, assert_close, folded, newest_ms, read, seeded, streams

STOCK = StockPosition("stock", "stock position", tuple(Kind), orders=3)


@dataclass
class Open:
    """A purchase order that has not come yet, all of it."""

    quantity: int
    expected_ms: int
    reference: int


def shelf(events: Sequence[Event]) -> int | None:
    """The newest count (the later arrival of two at one time), and what came after it and moved since."""
    counts = [i for i, e in enumerate(events) if e.kind == Kind.STOCK_COUNTED]
    if not counts:
        return None
    newest = max(counts, key=lambda i: (events[i].time_ms, i))
    since = [e for e in events[newest + 1 :] if e.time_ms > events[newest].time_ms]
    added = sum(e["quantity"] for e in since if e.kind in (Kind.STOCK_RECEIVED, Kind.STOCK_ADJUSTED))
    return events[newest]["quantity"] + added - sum(e["quantity"] for e in since if e.kind == Kind.UNITS_SOLD)


def open_orders(stock: StockPosition, events: Sequence[Event]) -> list[Open]:
    """Deliveries lower the first order that they name; where all places are taken, the most overdue order gives way."""
    places = [Open(0, 0, 0) for _ in range(stock.orders)]
    for event in events:
        if event.kind == Kind.PURCHASE_ORDER_PLACED:
            free = [i for i, o in enumerate(places) if o.quantity == 0]
            at = free[0] if free else min(range(stock.orders), key=lambda i: places[i].expected_ms)
            places[at] = Open(event["quantity"], event["expected_at_ms"], event["reference"])
        elif event.kind == Kind.STOCK_RECEIVED and event["reference"]:
            named = [o for o in places if o.quantity > 0 and o.reference == event["reference"]]
            for order in named[:1]:
                order.quantity = max(order.quantity - event["quantity"], 0)
    return places


def age(events: Sequence[Event], kind: Kind, as_of_ms: int) -> float:
    times = [e.time_ms for e in events if e.kind == kind]
    return max(as_of_ms - max(times), 0) / DAY_MS if times else math.nan


def oracle(stock: StockPosition, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    on_shelf = shelf(events)
    return {
        f"{stock.name}_counted_age_days": age(events, Kind.STOCK_COUNTED, as_of_ms),
        f"{stock.name}_before_demand": math.nan if on_shelf is None else on_shelf / 1000,
        f"{stock.name}_on_order": sum(o.quantity for o in open_orders(stock, events)) / 1000,
        f"{stock.name}_ran_out_age_days": age(events, Kind.RAN_OUT, as_of_ms),
        f"{stock.name}_times_ran_out": float(sum(e.kind == Kind.RAN_OUT for e in events)),
        f"{stock.name}_simulated": float(any(e["simulated"] for e in events)),
    }


@given(streams("inventory", max_size=60), st.integers(-50, 400))
@seeded
def test_equals_the_oracle(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    assert_close(read(alone(STOCK, "inventory"), events, as_of), oracle(STOCK, events, as_of), 1e-15)


@given(streams("inventory", max_size=60), st.integers(-50, 400))
@seeded
def test_arriving_is_what_is_due_by_then(events: list[Event], days: int) -> None:
    until = newest_ms(events) + days * DAY_MS
    view = alone(STOCK, "inventory")
    _, records = folded(view, events)
    state = view.raw(records, "stock")
    found = STOCK.arriving(state, np.zeros(1, np.int64), np.array([until]))
    due = sum(o.quantity for o in open_orders(STOCK, events) if o.expected_ms <= until)
    assert found.tolist() == [due / 1000]


def test_what_is_due_at_that_very_moment_arrives() -> None:
    view = alone(STOCK, "inventory")
    _, records = folded(view, [event(Kind.PURCHASE_ORDER_PLACED, 0, 10, reference=1, due=5)])
    state = view.raw(records, "stock")
    due_ms = START_MS + 5 * DAY_MS
    found = STOCK.arriving(state, np.zeros(3, np.int64), np.array([due_ms - 1, due_ms, due_ms + 1]))
    assert found.tolist() == [0.0, 10.0, 10.0]


def event(kind: Kind, day: float, quantity: int = 0, reference: int = 0, due: int = 0) -> Event:
    values = {"quantity": quantity * 1000, "reference": reference, "expected_at_ms": START_MS + due * DAY_MS}
    return Event(kind, START_MS + int(day * DAY_MS), values=values)


def test_a_count_begins_anew_and_movements_add_up() -> None:
    events = [
        event(Kind.STOCK_RECEIVED, 0, 99),
        event(Kind.STOCK_COUNTED, 1, 10),
        event(Kind.STOCK_RECEIVED, 2, 5),
        event(Kind.STOCK_ADJUSTED, 2, -2),
        event(Kind.UNITS_SOLD, 3, 4),
        event(Kind.STOCK_RECEIVED, 0.5, 1000),  # late, and in the count already
        event(Kind.STOCK_COUNTED, 0.5, 500),  # late, an older count
    ]
    found = read(alone(STOCK, "inventory"), events, START_MS + 4 * DAY_MS)
    assert (found["stock_before_demand"], found["stock_counted_age_days"]) == (9.0, 3.0)


def test_before_the_first_count_the_shelf_is_unknown() -> None:
    found = read(alone(STOCK, "inventory"), [event(Kind.STOCK_RECEIVED, 0, 5)], START_MS)
    assert math.isnan(found["stock_before_demand"])


@pytest.mark.parametrize(("received", "left"), [(4, 6.0), (10, 0.0), (15, 0.0)])
def test_a_delivery_lowers_the_order_it_names_and_never_below_nothing(received: int, left: float) -> None:
    events = [
        event(Kind.PURCHASE_ORDER_PLACED, 0, 10, reference=1, due=5),
        event(Kind.STOCK_RECEIVED, 4, received, reference=1),
    ]
    assert read(alone(STOCK, "inventory"), events, START_MS)["stock_on_order"] == left


def test_a_delivery_that_names_no_order_lowers_none() -> None:
    events = [event(Kind.PURCHASE_ORDER_PLACED, 0, 10, reference=1), event(Kind.STOCK_RECEIVED, 4, 5)]
    assert read(alone(STOCK, "inventory"), events, START_MS)["stock_on_order"] == 10.0


def test_the_most_overdue_order_gives_way_when_all_places_are_taken() -> None:
    due = [7, 3, 9, 8]
    events = [event(Kind.PURCHASE_ORDER_PLACED, 0, 10**n, reference=n + 1, due=day) for n, day in enumerate(due)]
    assert read(alone(STOCK, "inventory"), events, START_MS)["stock_on_order"] == 1101.0
