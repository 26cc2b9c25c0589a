from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import StockPosition
from features.aggregations.base import DAY_MS
from features.rows import InventoryKind as Kind
from tests.features.streams import (
    START_MS,
    Event,
    alone,
    alone_state,
    assert_close,
    folded,
    newest_ms,
    read,
    seeded,
    streams,
)

STOCK = StockPosition("stock", "stock position", tuple(Kind), orders=3, movements=4)


@dataclass
class Open:
    """A purchase order and what is left of it."""

    quantity: int
    expected_ms: int
    reference: int
    ordered_s: int = 0
    delivered: bool = False


MOVES = {Kind.STOCK_RECEIVED: 1, Kind.STOCK_ADJUSTED: 1, Kind.UNITS_SOLD: -1}


def shelf(stock: StockPosition, events: Sequence[Event]) -> int | None:
    """Count by count: what was counted, and all movements stamped after it that are not lost to late counts."""
    counted: tuple[int, int] | None = None
    since: list[tuple[int, int, int]] = []
    for arrival, event in enumerate(events):
        t = event.time_ms
        if event.kind == Kind.STOCK_COUNTED and (counted is None or t >= counted[0]):
            counted = (t, event["quantity"])
            known = sorted(since)[-stock.movements :]
            since = [move for move in known if move[0] > t]
        elif event.kind in MOVES and (counted is None or t > counted[0]):
            since.append((t, arrival, MOVES[Kind(event.kind)] * event["quantity"]))
    return None if counted is None else counted[1] + sum(q for *_, q in since)


def order_book(stock: StockPosition, events: Sequence[Event]) -> tuple[list[Open], list[int]]:
    """Deliveries lower the first order that they name; where all places are taken, the most overdue order gives way.

    Returns:
        The places, and the lead times in seconds in order of arrival: that of an order at its first delivery.
    """
    places = [Open(0, 0, 0) for _ in range(stock.orders)]
    leads: list[int] = []
    for event in events:
        if event.kind == Kind.PURCHASE_ORDER_PLACED:
            free = [i for i, o in enumerate(places) if o.quantity == 0]
            at = free[0] if free else min(range(stock.orders), key=lambda i: places[i].expected_ms // 1000)
            places[at] = Open(event["quantity"], event["expected_at_ms"], event["reference"], event.time_ms // 1000)
        elif event.kind == Kind.STOCK_RECEIVED and event["reference"]:
            named = [o for o in places if o.quantity > 0 and o.reference == event["reference"]]
            for order in named[:1]:
                if not order.delivered:
                    leads.append(max(event.time_ms // 1000 - order.ordered_s, 0))
                order.delivered = True
                order.quantity = max(order.quantity - event["quantity"], 0)
    return places, leads


def open_orders(stock: StockPosition, events: Sequence[Event]) -> list[Open]:
    return [order for order in order_book(stock, events)[0] if order.quantity > 0]


def age(events: Sequence[Event], kind: Kind, as_of_ms: int) -> float:
    unit = 1 if kind == Kind.STOCK_COUNTED else 1000
    times = [e.time_ms // unit * unit for e in events if e.kind == kind]
    return max(as_of_ms - max(times), 0) / DAY_MS if times else math.nan


def oracle(stock: StockPosition, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    on_shelf = shelf(stock, events)
    leads = [s / 86_400 for s in order_book(stock, events)[1]]
    return {
        f"{stock.name}_counted_age_days": age(events, Kind.STOCK_COUNTED, as_of_ms),
        f"{stock.name}_before_demand": math.nan if on_shelf is None else on_shelf / 1000,
        f"{stock.name}_on_order": sum(o.quantity for o in open_orders(stock, events)) / 1000,
        f"{stock.name}_ran_out_age_days": age(events, Kind.RAN_OUT, as_of_ms),
        f"{stock.name}_restocked_age_days": age(events, Kind.RESTOCKED, as_of_ms),
        f"{stock.name}_times_ran_out": float(sum(e.kind == Kind.RAN_OUT for e in events)),
        f"{stock.name}_lead_time_last_days": leads[-1] if leads else math.nan,
        f"{stock.name}_lead_time_mean_days": statistics.mean(leads) if leads else math.nan,
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
    due = sum(o.quantity for o in open_orders(STOCK, events) if o.expected_ms // 1000 * 1000 <= until)
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


def level(events: Sequence[Event]) -> float:
    return read(alone(STOCK, "inventory"), events, START_MS + 40 * DAY_MS)["stock_before_demand"]


LATER = [
    event(Kind.STOCK_RECEIVED, 6, 8),
    event(Kind.UNITS_SOLD, 7, 3),
    event(Kind.STOCK_ADJUSTED, 8, -1),
    event(Kind.STOCK_RECEIVED, 9, 4),
]


def test_a_count_that_arrives_late_keeps_the_movements_stamped_after_it() -> None:
    count = event(Kind.STOCK_COUNTED, 5, 100)
    before = [event(Kind.STOCK_COUNTED, 0, 7), event(Kind.STOCK_RECEIVED, 4, 50)]
    for at in range(5):
        assert level([*before, *LATER[:at], count, *LATER[at:]]) == 108.0


def test_the_order_of_movements_around_a_late_count_does_not_matter() -> None:
    count, earlier = event(Kind.STOCK_COUNTED, 5, 100), [event(Kind.STOCK_RECEIVED, d, 50) for d in (1, 2, 3, 4, 5)]
    assert level([*LATER, *earlier, count]) == level([*earlier[::-1], *LATER[::-1], count]) == 108.0


def test_of_more_movements_than_are_told_apart_the_oldest_are_lost_to_a_late_count() -> None:
    """The stated limit."""
    moves = [event(Kind.STOCK_RECEIVED, 6 + n, 10**n) for n in range(6)]
    assert level([*moves, event(Kind.STOCK_COUNTED, 5)]) == 111_100.0
    assert level([event(Kind.STOCK_COUNTED, 5), *moves]) == 111_111.0


def test_a_movement_of_the_very_time_of_the_count_is_in_it() -> None:
    count, move = event(Kind.STOCK_COUNTED, 5, 100), event(Kind.STOCK_RECEIVED, 5, 1)
    assert level([count, move]) == level([move, count]) == 100.0


def placed(day: float, quantity: int, reference: int, due: int = 10) -> Event:
    return event(Kind.PURCHASE_ORDER_PLACED, day, quantity, reference, due)


def received(day: float, quantity: int, reference: int) -> Event:
    return event(Kind.STOCK_RECEIVED, day, quantity, reference)


def test_a_partly_received_order_stays_open_with_the_rest_until_all_has_come() -> None:
    events = [placed(0, 10, 1), received(4, 3, 1), received(5, 2, 1), received(6, 5, 1), received(7, 5, 1)]
    view = alone(STOCK, "inventory")
    found = [read(view, events[:n], START_MS)["stock_on_order"] for n in range(1, 6)]
    assert found == [10.0, 7.0, 5.0, 0.0, 0.0]


def lead_times(events: Sequence[Event]) -> tuple[float, float]:
    found = read(alone(STOCK, "inventory"), events, START_MS)
    return found["stock_lead_time_last_days"], found["stock_lead_time_mean_days"]


def test_the_first_delivery_of_an_order_tells_its_lead_time() -> None:
    first = [placed(0, 10, 1), received(4, 3, 1), received(9, 7, 1)]
    assert lead_times(first) == (4.0, 4.0)
    assert lead_times([*first, placed(10, 5, 2), received(18, 5, 2)]) == (8.0, 6.0)
    assert all(math.isnan(days) for days in lead_times([placed(0, 10, 1), received(3, 10, 2), received(3, 10, 0)]))


def test_a_delivery_stamped_before_its_order_took_no_time() -> None:
    assert lead_times([placed(5, 10, 1), received(4, 10, 1)]) == (0.0, 0.0)


def test_lists_give_the_open_orders_the_one_expected_first_first() -> None:
    events = [placed(0, 10, 1, due=9), placed(0, 20, 2, due=3), placed(0, 30, 3, due=6), received(2, 30, 3)]
    state, slots = alone_state(STOCK, "inventory", events)
    found = STOCK.read_lists(state, slots, np.array([START_MS + 4 * DAY_MS]))
    assert list(found) == list(STOCK.describe_lists())
    np.testing.assert_array_equal(found["stock_order_units"], [[20.0, 10.0, math.nan]])
    np.testing.assert_array_equal(found["stock_order_due_days"], [[-1.0, 5.0, math.nan]])


@given(streams("inventory", max_size=60), st.integers(-50, 400))
@seeded
def test_lists_equal_the_oracle(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    state, slots = alone_state(STOCK, "inventory", events)
    found = STOCK.read_lists(state, slots, np.array([as_of]))
    held = sorted(open_orders(STOCK, events), key=lambda o: o.expected_ms // 1000)
    none = [math.nan] * (3 - len(held))
    np.testing.assert_array_equal(found["stock_order_units"][0], [o.quantity / 1000 for o in held] + none)
    due = [(o.expected_ms // 1000 * 1000 - as_of) / DAY_MS for o in held]
    np.testing.assert_array_equal(found["stock_order_due_days"][0], due + none)


def test_an_expected_time_beyond_what_four_bytes_hold_is_the_last_one() -> None:
    far = Event(Kind.PURCHASE_ORDER_PLACED, START_MS, values={"quantity": 1000, "expected_at_ms": 2**45})
    state, slots = alone_state(STOCK, "inventory", [far])
    assert state["expected_s"][0, 0] == 2**32 - 1
    assert STOCK.arriving(state, slots, np.array([START_MS + 1000 * DAY_MS])).tolist() == [0.0]


def test_how_often_it_ran_out_ends_at_what_two_bytes_hold() -> None:
    events = [event(Kind.RAN_OUT, 1)] * 65_540
    assert read(alone(STOCK, "inventory"), events, START_MS)["stock_times_ran_out"] == 65_535


@pytest.mark.parametrize("change", [{"orders": 1}, {"movements": 1}])
def test_a_single_place_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stock position 'stock': orders and movements have at least two places"):
        replace(STOCK, **change)
