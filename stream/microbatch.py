"""Micro-batch: typed events of one topic to columns, in log order.

What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.ids import IdCache, hash64
from features.rows import (
    ClickKind,
    InventoryKind,
    OrderKind,
    Rows,
    fixed,
    line_values,
    order_rows_of,
    rows_of,
)
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
}

#: Lines of one order event that a source position can tell apart.
LINES = 10_000


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows of one stream with the record that each came from.

    Args:
        rows: in log order.
        partition, offset: of the record, int64 of shape (n,).
        source_partition, source_position: for `demand`, where the order line came from; empty otherwise.
    """

    rows: Rows
    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    source_partition: NDArray[np.int64]
    source_position: NDArray[np.int64]


_NONE = np.empty(0, np.int64)


def _kinds(events: Sequence[Any]) -> NDArray[np.int8]:
    return np.fromiter((KINDS[type(e)] for e in events), np.int8, len(events))


def _times(events: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter((e.event_time_ms for e in events), np.int64, len(events))


def _hash_or_0(text: str | None) -> int:
    return 0 if text is None else hash64(text)


def _orders(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    flat = [(i, line) for i, event in enumerate(events) for line in event.lines]
    line_event = np.fromiter((i for i, _ in flat), np.int64, len(flat))
    lines = [line for _, line in flat]
    quantity = np.fromiter((line.quantity for line in lines), np.float64, len(lines))
    price = np.fromiter((line.unit_price for line in lines), np.float64, len(lines))
    discount = np.fromiter((line.discount for line in lines), np.float64, len(lines))
    customers = [e.customer_id for e in events]
    orders, order_lines = order_rows_of(
        customers,
        _kinds(events),
        _times(events),
        line_event,
        fixed(quantity),
        fixed(price),
        line_values(quantity, price, discount),
        ids.ids(line.sku for line in lines),
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
    skus = (getattr(e, "sku", None) for e in events)
    products = np.fromiter((0 if sku is None else ids.id(sku) for sku in skus), np.uint64, len(events))
    rows = rows_of(
        "clicks",
        [e.customer_id for e in events],
        kind=_kinds(events),
        event_time_ms=_times(events),
        product=products,
        session=np.fromiter(map(_hash_or_0, (e.session_id for e in events)), np.uint64, len(events)),
    )
    return [_feed(batch, rows)]


def _demand(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    n = len(events)
    quantity = np.fromiter((e.quantity for e in events), np.float64, n)
    price = np.fromiter((e.unit_price for e in events), np.float64, n)
    for e in events:
        ids.id(e.sku)
    rows = rows_of(
        "demand",
        [item_key(e) for e in events],
        kind=_kinds(events),
        event_time_ms=_times(events),
        quantity=fixed(quantity),
        value=line_values(quantity, price, np.zeros(n)),
        customer=np.fromiter(map(_hash_or_0, (e.customer_id for e in events)), np.uint64, n),
    )
    position = np.fromiter((e.source_offset * LINES + e.line for e in events), np.int64, n)
    source = np.fromiter((e.source_partition for e in events), np.int64, n)
    return [Feed(rows, np.asarray(batch.partitions), np.asarray(batch.offsets), source, position)]


def _inventory(batch: Decoded, ids: IdCache) -> list[Feed]:
    events = batch.events
    rows = rows_of(
        "inventory",
        [item_key(e) for e in events],
        kind=_kinds(events),
        event_time_ms=_times(events),
        quantity=fixed([getattr(e, "quantity", 0.0) for e in events]),
        expected_at_ms=[getattr(e, "expected_at_ms", 0) for e in events],
        reference=np.fromiter(
            (_hash_or_0(getattr(e, "purchase_order_id", None)) for e in events), np.uint64, len(events)
        ),
        simulated=[int(e.simulated) for e in events],
    )
    return [_feed(batch, rows)]


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
