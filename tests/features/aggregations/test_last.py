from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Last
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

VALUE = Last("value", "value of the latest order", (OrderKind.PLACED,))


def oracle(last: Last, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    """The row that sorts last by (second, arrival)."""
    taken = [(e.time_ms // 1000, i, e[last.value]) for i, e in enumerate(events) if e.kind in last.where]
    if not taken:
        return {last.name: math.nan, f"{last.name}_age_days": math.nan}
    second, _, value = max(taken)
    return {last.name: value / 1000, f"{last.name}_age_days": max(as_of_ms - second * 1000, 0) / DAY_MS}


@given(streams("orders"), st.integers(-50, 400))
@seeded
def test_equals_the_oracle(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    assert_close(read(alone(VALUE, "orders"), events, as_of), oracle(VALUE, events, as_of))


def order(value: int, ms: int, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS + ms, values={"value": value * 1000})


def test_a_late_row_changes_nothing() -> None:
    events = [order(1, DAY_MS), order(2, 0)]
    assert read(alone(VALUE, "orders"), events, START_MS + DAY_MS) == {"value": 1.0, "value_age_days": 0.0}


def test_of_equal_times_the_later_arrival_counts() -> None:
    view = alone(VALUE, "orders")
    assert read(view, [order(1, 0), order(-2, 0)], START_MS)["value"] == -2.0
    assert read(view, [order(1, 999), order(2, 0)], START_MS)["value"] == 2.0, "times are whole seconds"


def test_a_cancellation_leaves_the_value_and_the_age_grows() -> None:
    events = [order(7, 0), order(9, DAY_MS, OrderKind.CANCELLED)]
    assert read(alone(VALUE, "orders"), events, START_MS + 3 * DAY_MS) == {"value": 7.0, "value_age_days": 3.0}
