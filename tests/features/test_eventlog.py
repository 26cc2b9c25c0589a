"""The log that is replayed and trained on gives the rows that the live worker builds from the same events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.eventlog import read_catalog, read_clicks, read_inventory, read_orders
from features.ids import IdCache, hash64
from features.logfile import EventLogError, chunks, estimated_rows
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
    PriceSet,
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
times = st.integers(1_000, 17 * 10**11)
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
    st.builds(PriceSet, **item, discount=st.floats(0, 1), valid_from_ms=times),
)


def decoded(topic: str, events: Sequence[Any]) -> Decoded:
    return Decoded(topic, list(events), [0] * len(events), list(range(len(events))))


def live_rows(topic: str, events: Sequence[Any]) -> list[Rows]:
    return [feed.rows for feed in feeds_of(decoded(topic, events), IdCache())]


def live_shards(topic: str, events: Sequence[Any]) -> list[Rows]:
    """What records say of other entities than their own, each by the name of its entity, not of its shard."""
    found = [part.rows for feed in feeds_of(decoded(topic, events), IdCache()) for part in feed.also]
    return [replace(rows, entities=[key.rpartition("#")[0] for key in rows.entities]) for rows in found]


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
    common: dict[str, Any] = {"event_time_ms": 7_000, "location": "w", "lines": bought}
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


@given(st.lists(orders, max_size=6), st.lists(clicks, max_size=8), st.lists(inventory, max_size=8))
@seeded
def test_jsonl_gives_the_rows_of_parquet(bought: list[Any], clicked: list[Any], stocked: list[Any]) -> None:
    topics = {"orders": bought, "clicks": clicked, "inventory": stocked}
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        for topic, events in topics.items():
            write_topic(Path(one), topic, events)
            lines = [msgspec.json.encode(event) + b"\n" for event in events]
            Path(other, f"{topic}.jsonl").write_bytes(b"\n".join(lines))
        for reader in (read_clicks, read_inventory):
            assert_same(reader(Path(one)), reader(Path(other)))
        parquet, jsonl = read_orders(Path(one)), read_orders(Path(other))
    for stream in ("orders", "order_lines", "demand"):
        assert_same(getattr(parquet, stream), getattr(jsonl, stream))


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_small_chunks_give_the_same_rows(ending: str, tmp_path: Path) -> None:
    events = [
        Search(event_id=f"e{i}", event_time_ms=1_000 + i, customer_id=f"c{i % 9}", query="q") for i in range(5_000)
    ]
    if ending == "parquet":
        write_topic(tmp_path, "clicks", events)
    else:
        (tmp_path / "clicks.jsonl").write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in events))
    parts = list(chunks(tmp_path / f"clicks.{ending}", "clicks", chunk_bytes=10_000))
    assert len(parts) > 3
    assert [part.first for part in parts] == [sum(len(p) for p in parts[:i]) for i in range(len(parts))]
    assert [t for p in parts for t in p.columns["event_time_ms"].to_pylist()] == list(range(1_000, 6_000))
    assert 4_000 < estimated_rows(tmp_path / f"clicks.{ending}", "clicks") < 6_000
    assert parts[-1].share == 1.0


CLICK: dict[str, Any] = {"event_id": "1", "event_time_ms": 7_000, "type": "search", "customer_id": "c"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customer_id": None}, r"clicks\.jsonl: record 3 has no 'customer_id'"),
        ({"type": "seen"}, r"record 3: column 'type' holds 'seen', which topic 'clicks' does not have; it has product"),
        ({"customer_id": 5}, r"clicks\.jsonl: line 3: JSON parse error: Column\(/customer_id\) changed from string"),
        ({"event_time_ms": 1.5}, r"clicks\.jsonl: line 3: Failed to convert JSON to int64"),
    ],
)
def test_a_wrong_record_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = [CLICK, CLICK, {**CLICK, **change}, CLICK]
    (tmp_path / "clicks.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    with pytest.raises(EventLogError, match=message):
        read_clicks(tmp_path)


@pytest.mark.parametrize(("tail", "message"), [(b'{"event_id":', "line 3: JSON parse"), (b'"\xff"', "line 3: 'utf-8'")])
def test_a_torn_line_is_named(tail: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "clicks.jsonl").write_bytes((msgspec.json.encode(CLICK) + b"\n") * 2 + tail)
    with pytest.raises(EventLogError, match=message):
        read_clicks(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customer_id": [1.5]}, "column 'customer_id' holds double; it should hold string"),
        ({"event_time_ms": ["soon"]}, "column 'event_time_ms' holds large_string; it should hold int64"),
        ({"type": None}, r"clicks\.parquet has no column 'type'; it has event_id, event_time_ms, customer_id"),
    ],
)
def test_a_wrong_column_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    columns = {name: [value] for name, value in CLICK.items()} | change
    pl.DataFrame({n: c for n, c in columns.items() if c is not None}).write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(EventLogError, match=message):
        read_clicks(tmp_path)


def test_a_line_without_a_quantity_is_named(tmp_path: Path) -> None:
    good = {"sku": "A", "quantity": 1, "unit_price": 2}
    order = {**CLICK, "type": "order_placed", "location": "w", "lines": [good]}
    bad = {**order, "lines": [good, {"sku": "A", "unit_price": 2}]}
    (tmp_path / "orders.jsonl").write_bytes(msgspec.json.encode(order) + b"\n" + msgspec.json.encode(bad))
    with pytest.raises(EventLogError, match=r"orders\.jsonl: record 2: a line has no 'lines\.quantity'"):
        read_orders(tmp_path)


def test_what_is_no_parquet_and_what_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "clicks.parquet").write_bytes(b"PAR0")
    with pytest.raises(EventLogError, match=r"clicks\.parquet is no parquet file"):
        read_clicks(tmp_path)
    (tmp_path / "clicks.jsonl").touch()
    with pytest.raises(EventLogError, match=r"both clicks\.parquet and clicks\.jsonl are there; remove one of them"):
        read_clicks(tmp_path)


@pytest.mark.parametrize("reader", [read_orders, read_clicks, read_inventory, read_catalog])
def test_a_directory_without_the_topic_is_a_clear_error(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no event log: it has no \w+\.parquet \(see `tidecast import"):
        reader(tmp_path)
