from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given

from features.aggregations import Sum
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

SPEND = Sum("spend", "money", (OrderKind.PLACED,), minus=(OrderKind.CANCELLED, OrderKind.RETURNED))


def oracle(total: Sum, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    exact = Fraction(0)
    for event in events:
        if event.kind in total.where:
            exact += Fraction(event[total.value], 1000)
        elif event.kind in total.minus:
            exact -= Fraction(event[total.value], 1000)
    return {total.name: float(exact)}


@given(streams("orders"))
@seeded
def test_equals_the_oracle_exactly(events: list[Event]) -> None:
    assert_close(read(alone(SPEND, "orders"), events, newest_ms(events)), oracle(SPEND, events, 0), 0)


def test_adding_and_taking_off_is_exact_where_floats_are_not() -> None:
    large, small = {"value": 10**15}, {"value": 1}
    events = [
        Event(OrderKind.PLACED, START_MS, values=large),
        *[Event(OrderKind.PLACED, START_MS, values=small)] * 1000,
        Event(OrderKind.CANCELLED, START_MS, values=large),
    ]
    assert read(alone(SPEND, "orders"), events, START_MS) == {"spend": 1.0}


def test_the_column_is_the_one_that_it_names() -> None:
    lines = Sum("lines", "lines", (OrderKind.PLACED,), value="lines")
    event = Event(OrderKind.PLACED, START_MS, values={"value": 5_000, "lines": 2_000})
    assert read(alone(lines, "orders"), [event], START_MS) == {"lines": 2.0}
