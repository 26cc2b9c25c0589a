from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import DailyDistinct, Distinct
from features.aggregations.base import DAY_MS
from features.ids import hash64
from features.rows import OrderKind
from tests.features.aggregations import test_distinct
from tests.features.streams import START_MS, Event, alone, alone_state, assert_close, folded, read, seeded, streams

PLACED = (OrderKind.PLACED,)
CUSTOMERS = DailyDistinct("customers", "customers", PLACED, of="customer", precision=6)
TODAY = START_MS // DAY_MS


def oracle(distinct: Distinct, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    return test_distinct.oracle(distinct, events, as_of_ms)


def until(events: Sequence[Event], last_day: int) -> float:
    state, slots = alone_state(CUSTOMERS, "demand", events)
    return float(CUSTOMERS.until(state, slots, np.array([last_day]))[0])


def known(events: Sequence[Event], last_day: int) -> bool:
    state, slots = alone_state(CUSTOMERS, "demand", events)
    return bool(CUSTOMERS.known(state, slots, np.array([last_day]))[0])


def order(customer: str, day: int) -> Event:
    return Event(OrderKind.PLACED, START_MS + day * DAY_MS, values={"customer": hash64(customer)})


@given(streams("demand", max_size=80), st.integers(-2, 3))
@seeded
def test_until_a_day_equals_a_sketch_of_the_events_until_then(events: list[Event], after: int) -> None:
    """As long as it is known: from two days before the newest day on."""
    newest = max((e.time_ms // DAY_MS for e in events if e.kind in PLACED), default=0)
    last = newest + after
    before = [e for e in events if e.time_ms // DAY_MS <= last]
    assert known(events, last)
    expected = read(alone(replace(CUSTOMERS), "demand"), before, START_MS)["customers"] if before else 0.0
    assert until(events, last) == expected


def test_what_came_today_is_not_in_what_was_until_yesterday() -> None:
    events = [order("a", 0), order("b", 1), order("c", 2)]
    counts = [round(until(events, TODAY + day)) for day in (-1, 0, 1, 2, 9)]
    assert counts == [1, 1, 2, 3, 3], "of the days before the last two it tells no more than both together"
    assert [known(events, TODAY + day) for day in (-1, 0)] == [False, True]


def test_a_late_row_goes_to_its_own_day() -> None:
    assert round(until([order("a", 1), order("b", 0), order("c", -5)], TODAY)) == 2


@pytest.mark.parametrize("shards", [2, 3])
@given(streams("demand", max_size=80))
@seeded
def test_merged_shards_are_what_one_record_of_all_rows_is(shards: int, events: list[Event]) -> None:
    view = alone(CUSTOMERS, "demand")
    _, whole = folded(view, events)
    parts = [folded(view, [e for n, e in enumerate(events) if hash64(str(n)) % shards == s])[1] for s in range(shards)]
    out = view.empty(1)
    for part in parts:
        if len(part):
            before = part.tobytes()
            view.merge(out, part)
            assert part.tobytes() == before, "a shard stays as it is"
    assert out.tobytes() == whole.tobytes()


def test_all_of_it_is_what_distinct_says() -> None:
    plain = Distinct("customers", "customers", PLACED, of="customer", precision=6)
    events = [order(str(n), n % 9) for n in range(300)]
    assert_close(read(alone(CUSTOMERS, "demand"), events, START_MS), read(alone(plain, "demand"), events, START_MS))
