from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Span
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

ORDER = Span("order", "orders", (OrderKind.PLACED,))


def oracle(span: Span, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    times = [e.time_ms // 1000 * 1000 for e in events if e.kind in span.where]
    first = max(as_of_ms - min(times), 0) / 86_400_000 if times else math.nan
    last = max(as_of_ms - max(times), 0) / 86_400_000 if times else math.nan
    return {f"{span.name}_first_age_days": first, f"{span.name}_last_age_days": last}


@given(streams("orders"), st.integers(-50, 400))
@seeded
def test_equals_the_oracle(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    assert_close(read(alone(ORDER, "orders"), events, as_of), oracle(ORDER, events, as_of), 1e-15)


def test_ages_grow_without_events() -> None:
    view, events = alone(ORDER, "orders"), [Event(OrderKind.PLACED, START_MS)]
    assert read(view, events, START_MS + DAY_MS // 2)["order_last_age_days"] == 0.5
    assert read(view, events, START_MS + 10 * DAY_MS)["order_last_age_days"] == 10.0


def test_a_late_event_moves_the_first_and_not_the_last() -> None:
    events = [Event(OrderKind.PLACED, START_MS + 5 * DAY_MS), Event(OrderKind.PLACED, START_MS)]
    found = read(alone(ORDER, "orders"), events, START_MS + 5 * DAY_MS)
    assert found == {"order_first_age_days": 5.0, "order_last_age_days": 0.0}


def test_no_event_is_nan_and_not_zero() -> None:
    found = read(alone(ORDER, "orders"), [Event(OrderKind.CANCELLED, START_MS)], START_MS)
    assert all(math.isnan(age) for age in found.values())
