from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given

from features.aggregations import Min
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

SMALLEST = Min("value", "value of an order", (OrderKind.PLACED,))


def oracle(aggregation: Min, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    taken = [e[aggregation.value] for e in events if e.kind in aggregation.where]
    return {aggregation.name: min(taken) / 1000 if taken else math.nan}


@given(streams("orders"))
@seeded
def test_equals_the_oracle(events: list[Event]) -> None:
    assert_close(read(alone(SMALLEST, "orders"), events, newest_ms(events)), oracle(SMALLEST, events, 0), 0)


def order(value: int, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS, values={"value": value})


@pytest.mark.parametrize("value", [0, -1, 10**15, -(10**15)])
def test_any_first_value_is_one(value: int) -> None:
    assert read(alone(SMALLEST, "orders"), [order(value)], START_MS) == {"value": value / 1000}


def test_other_kinds_and_cancellations_take_no_part() -> None:
    kinds = (OrderKind.CANCELLED, OrderKind.RETURNED)
    events = [order(-5000), order(3000), *[order(v, kind) for v in (-9000, 9000) for kind in kinds]]
    assert read(alone(SMALLEST, "orders"), events, START_MS) == {"value": -5.0}
    assert math.isnan(read(alone(SMALLEST, "orders"), events[2:], START_MS)["value"])
