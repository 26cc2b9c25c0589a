"""Times before deliveries, against the same found in plain Python; and what is made of the chances then."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations.base import DAY_MS
from features.discovery import views_of
from features.table import EntityTable
from features.vectors.deliveries import BeforeDeliveries, before_deliveries, open_orders, p_empty
from tests.features.aggregations.test_stock import open_orders as open_orders_oracle
from tests.features.streams import Event, newest_ms, rows, seeded, streams
from tests.features.test_vectors import part

ITEMS = ("w:A", "w:B")
PLACES = 4
DUE = st.one_of(st.sampled_from([-1.0, 0.0, 0.25, 1.0, 2.0, 7.0]), st.floats(-5, 40, allow_nan=False))


def orders(*told: tuple[float, float]) -> tuple[Any, Any]:
    """Units and due days of one item's open orders, as `open_orders` gives them."""
    found = sorted(told, key=lambda order: order[1]) + [(math.nan, math.nan)] * (PLACES - len(told))
    return np.array([[units for units, _ in found]]), np.array([[due for _, due in found]])


def lowest(on_hand: float, lead: float, *told: tuple[float, float]) -> list[tuple[float, float]]:
    found = before_deliveries(*orders(*told), np.array([on_hand]), np.array([lead]))
    assert not found.row.any()
    return list(zip(found.days.tolist(), found.position.tolist(), strict=True))


def oracle(on_hand: float, lead: float, told: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found = []
    for due in sorted({due for _, due in told if 0 < due <= lead}):
        there = on_hand + sum(units for units, day in told if day < due)
        found.append((max(due, 1.0), there / min(due, 1.0)))
    return found if on_hand > 0 else []


@given(
    st.floats(0, 50),
    st.floats(0.5, 30),
    st.lists(st.tuples(st.floats(1, 90), DUE), max_size=PLACES),
)
@seeded
def test_times_before_deliveries(on_hand: float, lead: float, told: list[tuple[float, float]]) -> None:
    assert lowest(on_hand, lead, *told) == [pytest.approx(each) for each in oracle(on_hand, lead, told)]


@given(streams("inventory", ITEMS), st.integers(-20, 100))
@seeded
def test_open_orders_are_those_of_the_view(stock: list[Event], days: int) -> None:
    as_of = newest_ms(stock) + days * DAY_MS
    items = EntityTable("item", views_of("item"))
    items.admit_new(ITEMS)
    items.fold(rows("inventory", stock))
    units, due = open_orders(items, items.slots_of(ITEMS), np.full(2, as_of))
    for i, item in enumerate(ITEMS):
        mine = [event for event in stock if event.entity == item]
        wanted = sorted(
            (o.expected_ms // 1000 * 1000, o.quantity) for o in open_orders_oracle(part("item_stock", "stock"), mine)
        )
        held = ~np.isnan(units[i])
        assert sorted(units[i, held].tolist()) == sorted(q / 1000 for _, q in wanted)
        assert due[i, held].tolist() == pytest.approx([(at - as_of) / DAY_MS for at, _ in wanted])


def test_a_delivery_on_the_last_day_counts_and_one_after_it_does_not() -> None:
    assert lowest(3.0, 7.0, (5.0, 7.0), (9.0, 7.01)) == [(7.0, 3.0)]


def test_no_orders_and_no_stock_have_no_times() -> None:
    assert lowest(3.0, 7.0) == []
    assert lowest(0.0, 7.0, (5.0, 2.0)) == []
    assert lowest(math.nan, 7.0, (5.0, 2.0)) == []
    nothing = before_deliveries(np.empty((0, PLACES)), np.empty((0, PLACES)), np.empty(0), np.empty(0))
    assert (len(nothing.row), len(nothing.days), len(nothing.position)) == (0, 0, 0)


def test_the_nearer_a_delivery_the_less_is_asked_for_before_it() -> None:
    positions = [lowest(3.0, 7.0, (5.0, due))[0][1] for due in (2.0, 1.0, 0.5, 0.01)]
    assert positions == [3.0, 3.0, 6.0, pytest.approx(300.0)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_an_empty_shelf_is_between_the_worst_time_and_all_of_them_apart(chances: list[float]) -> None:
    at = BeforeDeliveries(np.zeros(len(chances) - 1, np.int64), np.ones(len(chances) - 1), np.ones(len(chances) - 1))
    told = float(p_empty(np.array(chances[:1]), np.array([3.0]), at, np.array(chances[1:]))[0])
    assert max(chances) - 1e-9 <= told <= 1 - math.prod(1 - p for p in chances) + 1e-9


def test_what_was_never_counted_is_not_known_whatever_a_model_says() -> None:
    none = BeforeDeliveries(np.empty(0, np.int64), np.empty(0), np.empty(0))
    told = p_empty(np.array([0.4, 0.4, np.nan]), np.array([np.nan, 0.0, 0.0]), none, np.empty(0))
    np.testing.assert_array_equal(told, [np.nan, 1.0, 1.0])
