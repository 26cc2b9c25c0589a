"""Rows that the records of an event log make, a chunk of them at a time.

The live worker builds the same rows from records (`stream/microbatch.py`); a test compares the two. Nothing here runs
per row: each distinct text of a chunk is hashed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.logcolumns import ids_of, numbers, within
from features.logfile import Chunk, EventLogError
from features.loglines import Lines, lines_of
from features.rows import (
    ALL,
    FIXED_POINT,
    MAX_QUANTITY,
    MAX_TIME_MS,
    MIN_TIME_MS,
    NO_ROW,
    STREAMS,
    ClickKind,
    InventoryKind,
    OrderKind,
    fixed,
    region_of,
)

#: How far ahead of the clock an event may be: as the live worker's default.
_MAX_SKEW_MS = 300_000

#: The topic whose records make each row stream.
TOPIC_OF = {
    "orders": "orders",
    "order_lines": "orders",
    "demand": "orders",
    "product_lines": "orders",
    "clicks": "clicks",
    "inventory": "inventory",
    "region_stock": "inventory",
    "product_stock": "inventory",
}
_ORDER_KINDS: dict[str, int] = {
    "order_placed": OrderKind.PLACED,
    "order_cancelled": OrderKind.CANCELLED,
    "order_returned": OrderKind.RETURNED,
}
_KINDS: dict[str, dict[str, int]] = {
    "orders": _ORDER_KINDS,
    "clicks": {kind.name.lower(): kind for kind in ClickKind},
    "inventory": {kind.name.lower(): kind for kind in InventoryKind} | {"price_set": NO_ROW},
}


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows of one stream that a chunk makes, in arrival order; n rows.

    Args:
        entities: Arrow texts; null for guests, who are no customers.
        entity: which of them each row is of, int64 of shape (n,).
        event: the record of each row, counted within the chunk, int64 of shape (n,), ascending.
        columns: as in `Rows`.
    """

    entities: Any
    entity: NDArray[np.int64]
    event: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]


def rows_of_chunk(chunk: Chunk, topic: str, streams: Sequence[str]) -> dict[str, LogRows]:
    """The rows of several streams of one topic.

    Raises:
        EventLogError: an unknown type of event, or an order line without sku, quantity or price.
    """
    kinds = _kinds(chunk, topic)
    times = numbers(chunk.columns["event_time_ms"], 0, np.int64)
    within(chunk, "event_time_ms", times, MIN_TIME_MS, min(MAX_TIME_MS, time.time_ns() // 1_000_000 + _MAX_SKEW_MS))
    if topic != "orders":
        return {stream: _with_rows(_BUILDERS[stream](chunk, kinds, times)) for stream in streams}
    lines = lines_of(chunk)
    return {stream: _ORDER_BUILDERS[stream](chunk, kinds, times, lines) for stream in streams}


def _with_rows(rows: LogRows) -> LogRows:
    """Without the events that no view reads."""
    read = rows.columns["kind"] != NO_ROW
    if read.all():
        return rows
    columns = {name: column[read] for name, column in rows.columns.items()}
    return LogRows(rows.entities, rows.entity[read], rows.event[read], columns)


def _kinds(chunk: Chunk, topic: str) -> NDArray[np.int8]:
    coded = pc.dictionary_encode(chunk.columns["type"])
    names, known = coded.dictionary.to_pylist(), _KINDS[topic]
    unknown = [i for i, name in enumerate(names) if name not in known]
    indices = numbers(coded.indices, 0, np.int64)
    if unknown:
        at = int(np.argmax(indices == unknown[0]))
        raise EventLogError(
            f"{chunk.path}: record {chunk.first + at + 1}: column 'type' holds {names[unknown[0]]!r}, "
            f"which topic {topic!r} does not have; it has {', '.join(known)}"
        )
    kinds: NDArray[np.int8] = np.array([known[name] for name in names], np.int8)[indices]
    return kinds


def typed(stream: str, **columns: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The columns of a stream, each in its own dtype."""
    dtypes: dict[str, Any] = {"kind": np.int8, "event_time_ms": np.int64, **STREAMS[stream][1]}
    return {name: np.ascontiguousarray(columns[name], dtypes[name]) for name in dtypes}


def _orders(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: Lines) -> LogRows:
    def total(values: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
        return np.diff(sums[lines.first])

    columns = typed(
        "orders",
        kind=kinds,
        event_time_ms=times,
        value=total(lines.value),
        units=total(lines.quantity),
        lines=np.diff(lines.first) * FIXED_POINT,
    )
    return LogRows(chunk.columns["customer_id"], np.arange(len(chunk)), np.arange(len(chunk)), columns)


def _order_lines(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: Lines) -> LogRows:
    columns = typed(
        "order_lines",
        kind=kinds[lines.event],
        event_time_ms=times[lines.event],
        product=ids_of(lines.sku),
        quantity=lines.quantity,
        unit_price=lines.unit_price,
    )
    return LogRows(chunk.columns["customer_id"], lines.event, lines.event, columns)


def _demand(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: Lines) -> LogRows:
    columns = typed(
        "demand",
        kind=kinds[lines.event],
        event_time_ms=times[lines.event],
        quantity=lines.quantity,
        value=lines.value,
        customer=ids_of(chunk.columns["customer_id"])[lines.event],
    )
    location = pc.take(chunk.columns["location"], pa.array(lines.event))
    items = pc.binary_join_element_wise(location, lines.sku, ":")
    return LogRows(items, np.arange(len(items)), lines.event, columns)


def _product_lines(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: Lines) -> LogRows:
    """Each line twice: of its product, and of all products together, the last of the entities."""
    event, coded = np.repeat(lines.event, 2), pc.dictionary_encode(lines.sku)
    products = pa.array([*coded.dictionary.to_pylist(), ALL], pa.string())
    entity = np.full(len(event), len(products) - 1, np.int64)
    entity[::2] = numbers(coded.indices, 0, np.int64)
    columns = typed(
        "product_lines",
        kind=kinds[event],
        event_time_ms=times[event],
        customer=ids_of(chunk.columns["customer_id"])[event],
    )
    return LogRows(products, entity, event, columns)


def _clicks(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]) -> LogRows:
    columns = typed(
        "clicks",
        kind=kinds,
        event_time_ms=times,
        product=ids_of(chunk.columns["sku"]),
        session=ids_of(chunk.columns["session_id"]),
    )
    return LogRows(chunk.columns["customer_id"], np.arange(len(chunk)), np.arange(len(chunk)), columns)


def _inventory(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]) -> LogRows:
    held = chunk.columns
    quantity = numbers(held["quantity"], 0.0, np.float64)
    columns = typed(
        "inventory",
        kind=kinds,
        event_time_ms=times,
        quantity=fixed(within(chunk, "quantity", quantity, -MAX_QUANTITY, MAX_QUANTITY)),
        expected_at_ms=numbers(held["expected_at_ms"], 0, np.int64),
        reference=ids_of(held["purchase_order_id"]),
        simulated=numbers(pc.cast(held["simulated"], pa.int8()), 0, np.int64),
    )
    items = pc.binary_join_element_wise(held["location"], held["sku"], ":")
    return LogRows(items, np.arange(len(chunk)), np.arange(len(chunk)), columns)


def _region_stock(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]) -> LogRows:
    held = chunk.columns
    coded = pc.dictionary_encode(held["location"])
    regions = pa.array([region_of(location) for location in coded.dictionary.to_pylist()], pa.string())
    items = pc.binary_join_element_wise(pc.take(regions, coded.indices), held["sku"], ":")
    return _at_locations("region_stock", "shop", items, chunk, kinds, times)


def _product_stock(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]) -> LogRows:
    return _at_locations("product_stock", "place", chunk.columns["sku"], chunk, kinds, times)


def _at_locations(
    stream: str, where: str, entities: Any, chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]
) -> LogRows:
    """Inventory events as an entity sees them that is at several locations; the column `where` tells at which."""
    held, n = chunk.columns, len(chunk)
    quantity = numbers(held["quantity"], 0.0, np.float64)
    columns = typed(
        stream,
        kind=kinds,
        event_time_ms=times,
        quantity=fixed(within(chunk, "quantity", quantity, -MAX_QUANTITY, MAX_QUANTITY)),
        **{where: ids_of(held["location"])},
    )
    return LogRows(entities, np.arange(n), np.arange(n), columns)


_BUILDERS: dict[str, Callable[[Chunk, NDArray[np.int8], NDArray[np.int64]], LogRows]] = {
    "clicks": _clicks,
    "inventory": _inventory,
    "region_stock": _region_stock,
    "product_stock": _product_stock,
}
_ORDER_BUILDERS: dict[str, Callable[[Chunk, NDArray[np.int8], NDArray[np.int64], Lines], LogRows]] = {
    "orders": _orders,
    "order_lines": _order_lines,
    "demand": _demand,
    "product_lines": _product_lines,
}
