from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given

from features.aggregations import Mean
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

VALUE = Mean("value", "value of an order", (OrderKind.PLACED,), minus=(OrderKind.CANCELLED,))


def oracle(mean: Mean, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    total, n = Fraction(0), 0
    for event in events:
        sign = (event.kind in mean.where) - (event.kind in mean.minus)
        total, n = total + sign * Fraction(event[mean.value], 1000), n + sign
    return {mean.name: float(total / n) if n > 0 else math.nan}


@given(streams("orders"))
@seeded
def test_equals_the_oracle(events: list[Event]) -> None:
    assert_close(read(alone(VALUE, "orders"), events, newest_ms(events)), oracle(VALUE, events, 0), 1e-14)


def order(value: int, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS, values={"value": value})


def test_what_is_taken_out_leaves_the_mean_of_the_rest_even_when_it_comes_first() -> None:
    events = [order(10**15, OrderKind.CANCELLED), order(2000), order(10**15), order(4000)]
    assert read(alone(VALUE, "orders"), events, START_MS) == {"value": 3.0}


def test_unknown_while_nothing_is_left() -> None:
    view = alone(VALUE, "orders")
    assert math.isnan(read(view, [order(5, OrderKind.RETURNED)], START_MS)["value"])
    assert math.isnan(read(view, [order(5), order(5, OrderKind.CANCELLED)], START_MS)["value"])
    assert math.isnan(read(view, [order(5, OrderKind.CANCELLED)], START_MS)["value"])


def test_negative_values_have_a_mean() -> None:
    assert read(alone(VALUE, "orders"), [order(-3000), order(1000)], START_MS) == {"value": -1.0}
