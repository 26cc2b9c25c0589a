from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Decayed
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

COUNT = Decayed("recent", "orders", (OrderKind.PLACED,), half_life_days=30)
MONEY = Decayed("recent", "money", (OrderKind.PLACED,), half_life_days=7, value="value")

#: The state is a 32-bit float.
RELATIVE = 1e-5


def oracle(decayed: Decayed, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    """The sum over all events of what each still weighs, in whole seconds; not read before its newest event."""
    taken = [e for e in events if e.kind in decayed.where]
    now = max([as_of_ms, *(e.time_ms // 1000 * 1000 for e in taken)])
    half_life_ms = decayed.half_life_days * 86_400_000
    weights = (0.5 ** ((now - e.time_ms // 1000 * 1000) / half_life_ms) for e in taken)
    amounts = (1.0 if decayed.value is None else e[decayed.value] / 1000 for e in taken)
    return {decayed.name: math.fsum(w * a for w, a in zip(weights, amounts, strict=True))}


@pytest.mark.parametrize("decayed", [COUNT, MONEY], ids=["count", "money"])
@given(streams("orders"), st.integers(-50, 400))
@seeded
def test_equals_the_oracle(decayed: Decayed, events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    assert_close(read(alone(decayed, "orders"), events, as_of), oracle(decayed, events, as_of), RELATIVE)


def test_halves_every_half_life_without_events() -> None:
    view, events = alone(COUNT, "orders"), [Event(OrderKind.PLACED, START_MS)] * 2
    found = [read(view, events, START_MS + n * 30 * DAY_MS)["recent"] for n in range(4)]
    assert found == [2.0, 1.0, 0.5, 0.25]


def test_a_late_event_weighs_what_it_would_have_in_time() -> None:
    events = [Event(OrderKind.PLACED, START_MS + 30 * DAY_MS), Event(OrderKind.PLACED, START_MS)]
    assert read(alone(COUNT, "orders"), events, START_MS + 30 * DAY_MS) == {"recent": 1.5}


def test_centuries_of_silence_are_zero_and_no_warning() -> None:
    events = [Event(OrderKind.PLACED, START_MS, values={"value": 10**9})]
    assert read(alone(MONEY, "orders"), events, START_MS + 100_000 * DAY_MS)["recent"] == 0.0


def test_thousands_of_rows_stay_within_the_stated_error() -> None:
    events = [Event(OrderKind.PLACED, START_MS + n * 977_000, values={"value": 1 + n * 7919}) for n in range(5000)]
    expected = oracle(MONEY, events, newest_ms(events))
    assert_close(read(alone(MONEY, "orders"), events, newest_ms(events)), expected, RELATIVE)
