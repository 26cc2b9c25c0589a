from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Recent
from features.aggregations.base import DAY_MS
from features.rows import ClickKind
from tests.features.streams import (
    START_MS,
    Event,
    alone,
    alone_state,
    assert_close,
    carried,
    folded,
    newest_ms,
    read,
    seeded,
    streams,
)

VIEWED = Recent("viewed", "products viewed", (ClickKind.PRODUCT_VIEW, ClickKind.ADD_TO_CART), length=5)
KINDS = replace(VIEWED, keep_kind=True)


def arrivals(recent: Recent, events: Sequence[Event]) -> list[Event]:
    """The last `length` with a product, newest arrival first."""
    return [e for e in events if e.kind in recent.where and e["product"]][::-1][: recent.length]


def oracle(recent: Recent, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    return {f"{recent.name}_length": float(len(arrivals(recent, events)))}


def sequence(recent: Recent, events: Sequence[Event], as_of_ms: int) -> tuple[list[int], list[float]]:
    view = alone(recent, "clicks")
    _, records = folded(view, events)
    state = view.raw(records, recent.name)
    product, age = recent.sequence(state, np.zeros(1, np.int64), np.array([as_of_ms]))
    assert product.dtype == np.uint64
    return product[0].tolist(), age[0].tolist()


@given(streams("clicks"), st.integers(-50, 400))
@seeded
def test_equals_the_oracle(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    assert_close(read(alone(VIEWED, "clicks"), events, as_of), oracle(VIEWED, events, as_of), 0)
    held = arrivals(VIEWED, events)
    empty = VIEWED.length - len(held)
    products, ages = sequence(VIEWED, events, as_of)
    assert products == [e["product"] for e in held] + [0] * empty
    expected = [max(as_of - e.time_ms // 1000 * 1000, 0) / DAY_MS for e in held] + [math.nan] * empty
    np.testing.assert_array_equal(ages, expected)


def viewed(product: int, day: int) -> Event:
    return Event(ClickKind.PRODUCT_VIEW, START_MS + day * DAY_MS, values={"product": product})


def test_the_oldest_arrival_makes_room_and_ages_grow_without_events() -> None:
    events = [viewed(product, day) for day, product in enumerate([9, 8, 7, 6, 5, 4, 4])]
    products, ages = sequence(VIEWED, events, START_MS + 10 * DAY_MS)
    assert products == [4, 4, 5, 6, 7]
    assert ages == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_order_is_that_of_arrival_also_for_late_events() -> None:
    products, ages = sequence(VIEWED, [viewed(1, 5), viewed(2, 0)], START_MS + 5 * DAY_MS)
    assert products[:2] == [2, 1]
    assert ages[:2] == [5.0, 0.0]


def test_clicks_without_a_product_take_no_place() -> None:
    carts = [Event(ClickKind.ADD_TO_CART, START_MS, values={"product": 0})]
    assert read(alone(VIEWED, "clicks"), [*carts, viewed(3, 0)], START_MS) == {"viewed_length": 1.0}


@given(streams("clicks"), st.integers(-50, 400))
@seeded
def test_lists_are_the_sequence_with_kinds(events: list[Event], days: int) -> None:
    as_of = newest_ms(events) + days * DAY_MS
    state, slots = alone_state(KINDS, "clicks", events)
    lists = KINDS.read_lists(state, slots, np.array([as_of]))
    held = arrivals(KINDS, events)
    assert list(lists) == list(KINDS.describe_lists()) == ["viewed_product", "viewed_age_days", "viewed_kind"]
    assert lists["viewed_kind"][0].tolist() == [e.kind for e in held] + [-1] * (5 - len(held))
    products, ages = sequence(VIEWED, events, as_of)
    assert lists["viewed_product"][0].tolist() == products
    np.testing.assert_array_equal(lists["viewed_age_days"][0], ages)


def test_kinds_are_a_column_only_where_they_are_kept() -> None:
    state, slots = alone_state(VIEWED, "clicks", [viewed(1, 0)])
    assert list(VIEWED.read_lists(state, slots, np.array([START_MS]))) == list(VIEWED.describe_lists())
    assert "viewed_kind" not in VIEWED.describe_lists()


@pytest.mark.parametrize("length", [3, 5, 9])
def test_another_length_keeps_the_newest_that_fit(length: int) -> None:
    events = [viewed(product, product) for product in range(1, 8)]
    other = replace(KINDS, length=length)
    kept, state = carried(KINDS, other, "clicks", events)
    assert kept
    expected = ([7, 6, 5, 4, 3] + [0] * 4)[:length]
    assert state["product"][0].tolist() == expected
    assert (state["second"][0] > 0).tolist() == [p > 0 for p in expected]


def test_other_rows_or_kinds_begin_anew() -> None:
    for other in (VIEWED, replace(KINDS, where=(ClickKind.SEARCH,))):
        kept, state = carried(KINDS, other, "clicks", [viewed(1, 0)])
        assert not kept
        assert not state["product"].any()


def test_a_sequence_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="recent 'viewed': a sequence has at least two places, not 1"):
        replace(VIEWED, length=1)
