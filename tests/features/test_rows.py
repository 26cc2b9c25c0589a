from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.rows import STREAMS, OrderKind, fixed, line_values, order_rows_of, rows_of
from tests.features.streams import seeded


@given(st.lists(st.decimals(-(10**9), 10**9, places=3), max_size=20))
@seeded
def test_fixed_point_is_exact_for_thousandths(amounts: list[Decimal]) -> None:
    assert fixed([float(a) for a in amounts]).tolist() == [int(a * 1000) for a in amounts]


@given(st.lists(st.integers(-(10**9), 10**9), max_size=20))
@seeded
def test_fixed_point_rounds_half_to_even(halves: list[int]) -> None:
    """A sixteenth is exact in binary, so a tie is a tie."""
    found = fixed([n / 16 for n in halves]).tolist()
    assert found == [int((Decimal(n) * 1000 / 16).quantize(Decimal(1), ROUND_HALF_EVEN)) for n in halves]


def test_fixed_point_ends_where_sums_of_thousands_would_overflow() -> None:
    assert fixed([1e11, 2e11, 1e300, -1e300]).tolist() == [10**14, 10**14, 10**14, -(10**14)]


halves = st.integers(1, 400).map(lambda n: n / 2)
prices = st.integers(0, 20_000).map(lambda n: n / 100)
shares = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 1 / 3, 1.0])


@given(st.lists(st.tuples(halves, prices, shares), min_size=10, max_size=100))
@seeded
def test_a_line_is_worth_the_same_with_its_discount_in_the_price(lines: list[tuple[float, float, float]]) -> None:
    """`demand` carries the discounted price: the item's money has to be what the customer's is, bit for bit."""
    quantity, price, discount = (np.array([line[i] for line in lines]) for i in range(3))
    discounted = np.array([p * (1.0 - d) for _, p, d in lines])
    whole = line_values(quantity, price, discount)
    assert whole.tolist() == line_values(quantity, discounted, np.zeros(len(lines))).tolist()
    np.testing.assert_allclose(whole / 1000, quantity * price * (1 - discount), atol=0.000501, rtol=1e-12)


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_have_the_dtypes_of_their_stream(stream: str) -> None:
    columns = {name: [1] for name in STREAMS[stream][1]}
    rows = rows_of(stream, ["e"], kind=[0], event_time_ms=[5], **columns)
    assert rows.columns["kind"].dtype == np.int8
    assert rows.columns["event_time_ms"].dtype == np.int64
    assert {name: rows.columns[name].dtype for name in columns} == STREAMS[stream][1]


@pytest.mark.parametrize("columns", [{}, {"product": [1], "colour": [2]}, {"colour": [2]}])
def test_a_missing_or_unknown_column_is_named(columns: dict[str, list[int]]) -> None:
    with pytest.raises(
        ValueError, match=r"row stream 'clicks' has columns \['event_time_ms', 'kind', 'product', 'session'\], got"
    ):
        rows_of("clicks", ["e"], kind=[0], event_time_ms=[5], **columns)


def test_take_picks_rows_in_the_order_asked_for() -> None:
    rows = rows_of(
        "clicks", ["a", "b", "c"], kind=[0, 1, 2], event_time_ms=[5, 6, 7], product=[7, 8, 2**64 - 1], session=[0] * 3
    )
    taken = rows.take(np.array([2, 0]))
    assert list(taken.entities) == ["c", "a"]
    assert taken.columns["product"].tolist() == [2**64 - 1, 7]
    assert taken.columns["product"].dtype == np.uint64
    assert len(rows.take(np.empty(0, np.intp))) == 0


def test_order_rows_add_up_lines_and_leave_guests_out() -> None:
    orders, lines = order_rows_of(
        customers=["a", None, "b"],
        kinds=np.array([OrderKind.PLACED, OrderKind.PLACED, OrderKind.RETURNED], np.int8),
        times=np.array([10, 20, 30]),
        line_event=np.array([0, 0, 1, 2]),
        quantity=np.array([1000, 2000, 4000, 8000]),
        unit_price=np.array([1, 2, 4, 8]),
        value=np.array([1, 20, 300, 4000]),
        product=np.array([1, 2, 3, 4], np.uint64),
    )
    assert list(orders.entities) == ["a", "b"]
    assert {name: column.tolist() for name, column in orders.columns.items()} == {
        "kind": [0, 2],
        "event_time_ms": [10, 30],
        "value": [21, 4000],
        "units": [3000, 8000],
        "lines": [2000, 1000],
    }
    assert list(lines.entities) == ["a", "a", "b"]
    assert {name: column.tolist() for name, column in lines.columns.items()} == {
        "kind": [0, 0, 2],
        "event_time_ms": [10, 10, 30],
        "product": [1, 2, 4],
        "quantity": [1000, 2000, 8000],
        "unit_price": [1, 2, 8],
    }
