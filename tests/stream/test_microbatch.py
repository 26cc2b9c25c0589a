from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from features.ids import IdCache, hash64
from features.rows import ClickKind, InventoryKind, OrderKind
from stream.decode import Decoded, Decoder
from stream.microbatch import KINDS, LINES, Feed, feeds_of
from stream.topology import CONSUMED
from tests.stream.build import T0, click, demand, line, message, order, stock

KEYS = {"orders": "customer_id", "clicks": "customer_id"}


def decoded(topic: str, events: Sequence[dict[str, Any]], partitions: Sequence[int] = ()) -> Decoded:
    records = []
    for i, event in enumerate(events):
        key = event["customer_id"] if topic in KEYS else f"{event['location']}:{event['sku']}"
        records.append(message(topic, key, event, offset=10 + i, partition=partitions[i] if partitions else 0))
    batch = Decoder(0, 10**6).decode(records, T0 + 10**9)
    assert batch.dead_letters == []
    return batch.topics[topic]


def column(feed: Feed, name: str) -> list[Any]:
    return list(feed.rows.columns[name].tolist())


def test_orders_become_a_row_an_event_and_a_row_a_line() -> None:
    lines = [line("A", 2.0, 1.25, 0.1), line("B", 0.5, 4.0)]
    events = [order("1", lines), order("2", [line("A")], at=T0 + 5, kind="order_returned")]
    ids = IdCache()
    orders, order_lines = feeds_of(decoded("orders", events, [3, 1]), ids)
    assert orders.rows.stream == "orders"
    assert list(orders.rows.entities) == ["1", "2"]
    assert column(orders, "kind") == [OrderKind.PLACED, OrderKind.RETURNED]
    assert column(orders, "event_time_ms") == [T0, T0 + 5]
    assert column(orders, "value") == [2250 + 2000, 2000], "discount taken off, thousandths"
    assert column(orders, "units") == [2500, 1000]
    assert column(orders, "lines") == [2000, 1000]
    assert (orders.partition.tolist(), orders.offset.tolist()) == ([3, 1], [10, 11])
    assert order_lines.rows.stream == "order_lines"
    assert list(order_lines.rows.entities) == ["1", "1", "2"]
    assert column(order_lines, "product") == [hash64("A"), hash64("B"), hash64("A")]
    assert column(order_lines, "quantity") == [2000, 500, 1000]
    assert column(order_lines, "unit_price") == [1250, 4000, 2000]
    assert (order_lines.partition.tolist(), order_lines.offset.tolist()) == ([3, 3, 1], [10, 10, 11])
    assert ids.name(hash64("B")) == "B"


def test_guests_are_demand_but_no_customers() -> None:
    events = [order(None, [line("A"), line("B")]), order("2", [line("C")])]
    orders, order_lines = feeds_of(decoded("orders", events), IdCache())
    assert list(orders.rows.entities) == ["2"]
    assert orders.offset.tolist() == [11]
    assert list(order_lines.rows.entities) == ["2"]
    assert order_lines.offset.tolist() == [11]


def test_only_guests_make_empty_feeds() -> None:
    for feed in feeds_of(decoded("orders", [order(None)]), IdCache()):
        assert len(feed.rows) == len(feed.offset) == len(feed.partition) == 0


def test_clicks_without_a_product_have_id_zero() -> None:
    search = {k: v for k, v in click(kind="search", query="bowl").items() if k != "sku"}
    shown = {k: v for k, v in click(kind="offer_impression", offer_id="o").items() if k != "sku"}
    (feed,) = feeds_of(decoded("clicks", [click(sku="A"), search, shown]), IdCache())
    assert column(feed, "kind") == [ClickKind.PRODUCT_VIEW, ClickKind.SEARCH, ClickKind.OFFER_IMPRESSION]
    assert column(feed, "product") == [hash64("A"), 0, 0]
    assert len(feed.source_partition) == 0


def test_demand_carries_where_each_line_came_from() -> None:
    events = [demand("A", source=(2, 7, 3), quantity=1.5), demand("B", source=(0, 1, 0), kind="cancelled")]
    (feed,) = feeds_of(decoded("demand", events), IdCache())
    assert list(feed.rows.entities) == ["w:A", "w:B"]
    assert column(feed, "kind") == [OrderKind.PLACED, OrderKind.CANCELLED]
    assert column(feed, "quantity") == [1500, 1000]
    assert column(feed, "value") == [3000, 2000]
    assert feed.source_partition.tolist() == [2, 0]
    assert feed.source_position.tolist() == [7 * LINES + 3, LINES]


def test_a_source_position_tells_every_line_of_every_order_apart() -> None:
    """The largest line of one order comes before the first of the next."""
    events = [demand(source=(0, 4, LINES - 1)), demand(source=(0, 5, 0))]
    (feed,) = feeds_of(decoded("demand", events), IdCache())
    assert feed.source_position[0] + 1 == feed.source_position[1]


def test_inventory_rows() -> None:
    events = [
        stock("stock_counted", quantity=3),
        stock("purchase_order_placed", quantity=5, expected_at_ms=T0 + 9, purchase_order_id="po", simulated=True),
        stock("stock_received", quantity=5, purchase_order_id="po"),
        stock("stock_adjusted", quantity=-2),
        stock("ran_out"),
    ]
    (feed,) = feeds_of(decoded("inventory", events), IdCache())
    kinds = ["STOCK_COUNTED", "PURCHASE_ORDER_PLACED", "STOCK_RECEIVED", "STOCK_ADJUSTED", "RAN_OUT"]
    assert column(feed, "kind") == [InventoryKind[k] for k in kinds]
    assert column(feed, "quantity") == [3000, 5000, 5000, -2000, 0]
    assert column(feed, "expected_at_ms") == [0, T0 + 9, 0, 0, 0]
    assert column(feed, "reference") == [0, hash64("po"), hash64("po"), 0, 0]
    assert column(feed, "simulated") == [0, 1, 0, 0, 0]


def test_a_price_changes_no_record() -> None:
    price = stock("price_set", discount=0.2, valid_from_ms=T0 + 9)
    (feed,) = feeds_of(decoded("inventory", [price, stock("ran_out"), price]), IdCache())
    assert column(feed, "kind") == [InventoryKind.RAN_OUT]
    assert feed.offset.tolist() == decoded("inventory", [price] * 3).offsets[1:2]
    (none,) = feeds_of(decoded("inventory", [price]), IdCache())
    assert len(none.rows) == len(none.offset) == 0
    assert [len(also.rows) for also in none.also] == [0]


def test_every_event_type_of_a_consumed_topic_has_a_kind() -> None:
    types = {event for topic in CONSUMED for event in topic.record.__args__}
    assert types == KINDS.keys()
