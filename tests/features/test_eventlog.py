"""The log that is replayed and trained on gives the rows that the live worker builds from the same events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.eventlog import read_catalog, read_clicks, read_inventory, read_orders
from features.ids import IdCache, hash64
from features.rows import Rows
from stream.decode import Decoded
from stream.eventlog import write_topic
from stream.events import (
    AddToCart,
    Charge,
    OfferClick,
    OfferImpression,
    OfferRedeemed,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    OrderReturned,
    Product,
    ProductView,
    PurchaseOrderPlaced,
    RanOut,
    RemoveFromCart,
    Restocked,
    Search,
    StockAdjusted,
    StockCounted,
    StockReceived,
    UnitsSold,
)
from stream.microbatch import feeds_of
from stream.repartition import demand_of
from tests.features.streams import seeded

ids = st.sampled_from(["85123A", "22423", "Jötunn ☕", "a:b", " "])
maybe = st.none() | ids
times = st.integers(1, 2 * 10**12)
# Halves at prices in cents, less usual discounts, fall right between two thousandths.
quantities = st.integers(1, 400).map(lambda n: n / 2) | st.floats(0.0001, 1e6)
prices = st.integers(0, 20_000).map(lambda n: n / 100) | st.floats(0, 1e6)
shares = st.sampled_from([0.0, 0.05, 0.1, 0.15, 1 / 3, 1.0]) | st.floats(0, 1)
base: dict[str, Any] = {"event_id": ids, "event_time_ms": times}
lines = st.lists(
    st.builds(OrderLine, sku=ids, quantity=quantities, unit_price=prices, discount=shares), min_size=1, max_size=6
)
order: dict[str, Any] = {
    **base,
    "order_id": ids,
    "location": st.sampled_from(["warehouse", "shop 1"]),
    "lines": lines,
    "charges": st.lists(st.builds(Charge, code=ids, amount=prices), max_size=2),
    "customer_id": maybe,
}
orders = st.one_of(*(st.builds(kind, **order) for kind in (OrderPlaced, OrderCancelled, OrderReturned)))
click: dict[str, Any] = {**base, "customer_id": ids, "session_id": maybe, "simulated": st.booleans()}
clicks = st.one_of(
    *(st.builds(kind, **click, sku=ids) for kind in (ProductView, AddToCart, RemoveFromCart)),
    *(st.builds(kind, **click, offer_id=ids) for kind in (OfferImpression, OfferClick, OfferRedeemed)),
    st.builds(Search, **click, query=ids),
)
item: dict[str, Any] = {**base, "location": st.just("warehouse"), "sku": ids, "simulated": st.booleans()}
inventory = st.one_of(
    st.builds(StockCounted, **item, quantity=prices),
    st.builds(StockReceived, **item, quantity=quantities, purchase_order_id=maybe),
    st.builds(StockAdjusted, **item, quantity=prices.map(lambda n: -n) | prices),
    st.builds(PurchaseOrderPlaced, **item, quantity=quantities, expected_at_ms=times, purchase_order_id=ids),
    st.builds(UnitsSold, **item, quantity=prices, period_ms=times),
    st.builds(RanOut, **item),
    st.builds(Restocked, **item),
)


def decoded(topic: str, events: Sequence[Any]) -> Decoded:
    return Decoded(topic, list(events), [0] * len(events), list(range(len(events))))


def live_rows(topic: str, events: Sequence[Any]) -> list[Rows]:
    return [feed.rows for feed in feeds_of(decoded(topic, events), IdCache())]


def assert_same(logged: Rows, live: Rows) -> None:
    assert logged.stream == live.stream
    assert list(logged.entities) == list(live.entities)
    assert logged.columns.keys() == live.columns.keys()
    for name, column in live.columns.items():
        assert logged.columns[name].dtype == column.dtype, name
        assert logged.columns[name].tolist() == column.tolist(), name


@given(st.lists(orders, max_size=8))
@seeded
def test_orders_and_their_lines(events: list[Any]) -> None:
    with TemporaryDirectory() as log:
        write_topic(Path(log), "orders", events)
        history = read_orders(Path(log))
    live = {rows.stream: rows for rows in live_rows("orders", events)}
    assert_same(history.orders, live["orders"])
    assert_same(history.order_lines, live["order_lines"])


@given(st.lists(orders, max_size=8))
@seeded
def test_demand_is_what_the_repartition_makes_of_the_orders(events: list[Any]) -> None:
    with TemporaryDirectory() as log:
        write_topic(Path(log), "orders", events)
        history = read_orders(Path(log))
    (live,) = live_rows("demand", [record for _, _, record in demand_of(decoded("orders", events))])
    assert_same(history.demand, live)


@given(st.lists(clicks, max_size=20))
@seeded
def test_clicks(events: list[Any]) -> None:
    with TemporaryDirectory() as log:
        write_topic(Path(log), "clicks", events)
        logged = read_clicks(Path(log))
    (live,) = live_rows("clicks", events)
    assert_same(logged, live)


@given(st.lists(inventory, max_size=20))
@seeded
def test_inventory(events: list[Any]) -> None:
    with TemporaryDirectory() as log:
        write_topic(Path(log), "inventory", events)
        logged = read_inventory(Path(log))
    (live,) = live_rows("inventory", events)
    assert_same(logged, live)


def test_an_order_by_a_guest_is_demand_and_no_customer(tmp_path: Path) -> None:
    bought = [OrderLine(sku="A", quantity=2.0, unit_price=3.0, discount=0.5)]
    common: dict[str, Any] = {"event_time_ms": 7, "location": "w", "lines": bought}
    guest = OrderPlaced(event_id="1", order_id="1", **common)
    known = OrderCancelled(event_id="2", order_id="2", customer_id="c", **common)
    write_topic(tmp_path, "orders", [guest, known])
    history = read_orders(tmp_path)
    assert list(history.orders.entities) == list(history.order_lines.entities) == ["c"]
    assert history.orders.columns["kind"].tolist() == [1]
    assert history.orders.columns["value"].tolist() == [3000]
    assert list(history.demand.entities) == ["w:A", "w:A"]
    assert history.demand.columns["kind"].tolist() == [0, 1]
    assert history.order_lines.columns["product"].tolist() == [hash64("A")]


def test_the_catalog_has_its_columns(tmp_path: Path) -> None:
    write_topic(tmp_path, "catalog", [Product(sku="A", name="Bowl", unit_price=1.0, lead_time_days=3.0)])
    row = read_catalog(tmp_path).row(0, named=True)
    assert (row["sku"], row["name"], row["lead_time_days"]) == ("A", "Bowl", 3.0)


@pytest.mark.parametrize("reader", [read_orders, read_clicks, read_inventory, read_catalog])
def test_a_directory_without_the_topic_is_a_clear_error(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no event log: it has no \w+\.parquet \(see `tidecast import"):
        reader(tmp_path)
