from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given

from features.aggregations import Count
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

ORDERS = Count("n", "orders", (OrderKind.PLACED,), minus=(OrderKind.CANCELLED,))


def oracle(count: Count, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    added = [e for e in events if e.kind in count.where]
    taken = [e for e in events if e.kind in count.minus]
    return {count.name: float(len(added) - len(taken))}


@given(streams("orders"))
@seeded
def test_equals_the_oracle(events: list[Event]) -> None:
    assert_close(read(alone(ORDERS, "orders"), events, newest_ms(events)), oracle(ORDERS, events, 0), 0)


def test_a_cancellation_takes_off_what_it_undoes_even_when_it_comes_first() -> None:
    placed, cancelled = Event(OrderKind.PLACED, START_MS), Event(OrderKind.CANCELLED, START_MS + 1)
    view = alone(ORDERS, "orders")
    assert read(view, [placed, cancelled], START_MS) == {"n": 0.0}
    assert read(view, [cancelled], START_MS) == {"n": -1.0}
    assert read(view, [cancelled, placed, placed], START_MS) == {"n": 1.0}


def test_other_kinds_do_not_count() -> None:
    assert read(alone(ORDERS, "orders"), [Event(OrderKind.RETURNED, START_MS)], START_MS) == {"n": 0.0}


def test_time_passing_changes_nothing() -> None:
    events = [Event(OrderKind.PLACED, START_MS)] * 3
    assert read(alone(ORDERS, "orders"), events, 2 * START_MS) == {"n": 3.0}
