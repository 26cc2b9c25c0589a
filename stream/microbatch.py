"""Micro-batch: typed events of one topic to columns, in log order.

What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.ids import IdCache, hashes_or_0
from features.rows import (
    ALL,
    NO_ROW,
    STREAMS,
    ClickKind,
    InventoryKind,
    OrderKind,
    Rows,
    fixed,
    line_values,
    order_rows_of,
    region_of,
    rows_of,
)
from features.shards import shard_key
from stream.decode import Decoded, item_key
from stream.events import (
    AddToCart,
    Cancelled,
    OfferClick,
    OfferImpression,
    OfferRedeemed,
    OrderCancelled,
    Ordered,
    OrderPlaced,
    OrderReturned,
    PriceSet,
    ProductView,
    PurchaseOrderPlaced,
    RanOut,
    RemoveFromCart,
    Restocked,
    Returned,
    Search,
    StockAdjusted,
    StockCounted,
    StockReceived,
    UnitsSold,
)

KINDS: dict[type, int] = {
    OrderPlaced: OrderKind.PLACED,
    OrderCancelled: OrderKind.CANCELLED,
    OrderReturned: OrderKind.RETURNED,
    Ordered: OrderKind.PLACED,
    Cancelled: OrderKind.CANCELLED,
    Returned: OrderKind.RETURNED,
    ProductView: ClickKind.PRODUCT_VIEW,
    AddToCart: ClickKind.ADD_TO_CART,
    RemoveFromCart: ClickKind.REMOVE_FROM_CART,
    Search: ClickKind.SEARCH,
    OfferImpression: ClickKind.OFFER_IMPRESSION,
    OfferClick: ClickKind.OFFER_CLICK,
    OfferRedeemed: ClickKind.OFFER_REDEEMED,
    StockCounted: InventoryKind.STOCK_COUNTED,
    StockReceived: InventoryKind.STOCK_RECEIVED,
    StockAdjusted: InventoryKind.STOCK_ADJUSTED,
    PurchaseOrderPlaced: InventoryKind.PURCHASE_ORDER_PLACED,
    UnitsSold: InventoryKind.UNITS_SOLD,
    RanOut: InventoryKind.RAN_OUT,
    Restocked: InventoryKind.RESTOCKED,
    PriceSet: NO_ROW,
}

#: Lines of one order event that a source position can tell apart.
LINES = 10_000


@dataclass(frozen=True, slots=True)
class Also:
    """What records say of another entity than their own.

    Args:
        rows: in log order, m of them.
        record: which row of the feed each is beside, int64 of shape (m,), ascending, each once.
    """

    rows: Rows
    record: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows of one stream with the record that each came from.

    Args:
        rows: in log order.
        partition, offset: of the record, int64 of shape (n,).
        source_partition, source_position: for `demand`, where the order line came from; empty otherwise.
        also: what the same records say of other entities.
    """

    rows: Rows
    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    source_partition: NDArray[np.int64]
    source_position: NDArray[np.int64]
    also: tuple[Also, ...] = ()


_NONE = np.empty(0, np.int64)


_event_time_ms, _customer_id, _quantity, _unit_price = (
    attrgetter(name) for name in ("event_time_ms", "customer_id", "quantity", "unit_price")
)


def _kinds(events: Sequence[Any]) -> NDArray[np.int8]:
    return np.fromiter(map(KINDS.__getitem__, map(type, events)), np.int8, len(events))


def _times(events: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(_event_time_ms, events), np.int64, len(events))


def _floats(events: Sequence[Any], of: Callable[[Any], float]) -> NDArray[np.float64]:
    return np.fromiter(map(of, events), np.float64, len(events))


def _orders(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    counts = [len(event.lines) for event in events]
    line_event = np.repeat(np.arange(len(events)), counts)
    lines = [line for event in events for line in event.lines]
    quantity, price = _floats(lines, _quantity), _floats(lines, _unit_price)
    discount = _floats(lines, attrgetter("discount"))
    customers = list(map(_customer_id, events))
    orders, order_lines = order_rows_of(
        customers,
        _kinds(events),
        _times(events),
        line_event,
        fixed(quantity),
        fixed(price),
        line_values(quantity, price, discount),
        ids.ids(map(attrgetter("sku"), lines)),
    )
    known = np.fromiter((c is not None for c in customers), bool, len(customers))
    partition, offset = np.asarray(batch.partitions, np.int64), np.asarray(batch.offsets, np.int64)
    of = line_event[known[line_event]]
    return [
        Feed(orders, partition[known], offset[known], _NONE, _NONE),
        Feed(order_lines, partition[of], offset[of], _NONE, _NONE),
    ]


def _clicks(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    skus = [getattr(e, "sku", None) for e in events]
    of_product = np.array([sku is not None for sku in skus], np.bool_)
    products = np.zeros(len(events), np.uint64)
    products[of_product] = ids.ids(sku for sku in skus if sku is not None)
    rows = rows_of(
        "clicks",
        list(map(_customer_id, events)),
        kind=_kinds(events),
        event_time_ms=_times(events),
        product=products,
        session=hashes_or_0([e.session_id for e in events]),
    )
    return [_feed(batch, rows)]


def _demand(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    n = len(events)
    quantity = _floats(events, _quantity)
    ids.ids(map(attrgetter("sku"), events))
    rows = rows_of(
        "demand",
        list(map(item_key, events)),
        kind=_kinds(events),
        event_time_ms=_times(events),
        quantity=fixed(quantity),
        value=line_values(quantity, _floats(events, _unit_price), np.zeros(n)),
        customer=hashes_or_0(list(map(_customer_id, events))),
    )
    offset, line, source = (
        np.fromiter(map(attrgetter(name), events), np.int64, n)
        for name in ("source_offset", "line", "source_partition")
    )
    also = _of_products(batch, rows)
    return [Feed(rows, np.asarray(batch.partitions), np.asarray(batch.offsets), source, offset * LINES + line, also)]


def _of_products(batch: Decoded, demand: Rows) -> tuple[Also, Also]:
    """Each order line as its product sees it, and as the shop sees it, in the partition's own shards of them."""
    columns = {name: demand.columns[name] for name in ("kind", "event_time_ms", *STREAMS["product_lines"][1])}
    products = [shard_key(event.sku, p) for event, p in zip(batch.events, batch.partitions, strict=True)]
    every, all_of_them = np.arange(len(products)), [shard_key(ALL, p) for p in batch.partitions]
    return (
        Also(Rows("product_lines", products, columns), every),
        Also(Rows("product_lines", all_of_them, columns), every),
    )


def _inventory(batch: Decoded, ids: IdCache) -> list[Feed]:
    kinds = _kinds(batch.events)
    if (kinds == NO_ROW).any():
        batch, kinds = batch.only((kinds != NO_ROW).tolist()), kinds[kinds != NO_ROW]
    events = batch.events
    rows = rows_of(
        "inventory",
        list(map(item_key, events)),
        kind=kinds,
        event_time_ms=_times(events),
        quantity=fixed([getattr(e, "quantity", 0.0) for e in events]),
        expected_at_ms=[getattr(e, "expected_at_ms", 0) for e in events],
        reference=hashes_or_0([getattr(e, "purchase_order_id", None) for e in events]),
        simulated=[e.simulated for e in events],
    )
    return [replace(_feed(batch, rows), also=(_of_product(batch, rows), *_of_regions(batch, rows)))]


def _of_product(batch: Decoded, stock: Rows) -> Also:
    """Each event as its product sees it, in the partition's own shard."""
    keys = [shard_key(event.sku, p) for event, p in zip(batch.events, batch.partitions, strict=True)]
    columns = {name: stock.columns[name] for name in ("kind", "event_time_ms", "quantity")}
    columns["place"] = hashes_or_0([event.location for event in batch.events])
    return Also(Rows("product_stock", keys, columns), np.arange(len(keys)))


def _of_regions(batch: Decoded, stock: Rows) -> tuple[Also, ...]:
    """Each event at a location of a region as the product in the region sees it, in the partition's own shard."""
    regions = [region_of(event.location) for event in batch.events]
    record = np.flatnonzero([region is not None for region in regions])
    if not len(record):
        return ()
    keys = [shard_key(f"{regions[i]}:{batch.events[i].sku}", batch.partitions[i]) for i in record.tolist()]
    columns = {name: stock.columns[name][record] for name in ("kind", "event_time_ms", "quantity")}
    columns["shop"] = hashes_or_0([batch.events[i].location for i in record.tolist()])
    return (Also(Rows("region_stock", keys, columns), record),)


def _feed(batch: Decoded, rows: Rows) -> Feed:
    return Feed(rows, np.asarray(batch.partitions), np.asarray(batch.offsets), _NONE, _NONE)


_BUILDERS: dict[str, Callable[[Decoded, IdCache], list[Feed]]] = {
    "orders": _orders,
    "clicks": _clicks,
    "demand": _demand,
    "inventory": _inventory,
}


def feeds_of(batch: Decoded, ids: IdCache) -> list[Feed]:
    """The row streams of one topic's events."""
    return _BUILDERS[batch.topic](batch, ids)
