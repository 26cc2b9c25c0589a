"""Rows from an event log: a directory with one parquet or JSONL file a topic, columns as the topic's schema, in
arrival order.

The live worker builds the same rows from records (`stream/microbatch.py`); a test compares the two. Nothing here runs
per row: each distinct text of a chunk is hashed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from features.logfile import Chunk, EventLogError, cast, chunks, first_null, topic_file
from features.rows import (
    ALL,
    FIXED_POINT,
    MAX_AMOUNT,
    MAX_QUANTITY,
    MAX_TIME_MS,
    MIN_TIME_MS,
    NO_ROW,
    STREAMS,
    ClickKind,
    InventoryKind,
    OrderKind,
    Rows,
    fixed,
    line_values,
    region_of,
)

#: How far ahead of the clock an event may be: as the live worker's default.
_MAX_SKEW_MS = 300_000
_ABOVE_0 = 5e-324

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


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """The order topic as rows: by customer, by customer and line, and by item."""

    orders: Rows
    order_lines: Rows
    demand: Rows


def ids_of(texts: Any) -> NDArray[np.uint64]:
    """Ids of Arrow texts, uint64 of shape (n,); each distinct one is hashed once, null is 0.

    >>> from features.ids import hash64
    >>> ids_of(pa.array(["a", None, "a"])).tolist() == [hash64("a"), 0, hash64("a")]
    True
    """
    ids, number = coded_ids(texts)
    return ids[number]


def coded_ids(texts: Any) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The ids of the distinct ones of n Arrow texts, with 0 for null behind them; and which of them each text has."""
    coded = pc.dictionary_encode(texts)
    digest = xxhash.xxh3_64_intdigest  # as `hash64`, without a call for each
    known = [digest(text.encode()) or 1 for text in coded.dictionary.to_pylist()]
    return np.array([*known, 0], np.uint64), numbers(coded.indices, len(known), np.int64)


def rows_of_chunk(chunk: Chunk, topic: str, streams: Sequence[str]) -> dict[str, LogRows]:
    """The rows of several streams of one topic.

    Raises:
        EventLogError: an unknown type of event, or an order line without sku, quantity or price.
    """
    kinds = _kinds(chunk, topic)
    times = numbers(chunk.columns["event_time_ms"], 0, np.int64)
    _within(chunk, "event_time_ms", times, MIN_TIME_MS, min(MAX_TIME_MS, time.time_ns() // 1_000_000 + _MAX_SKEW_MS))
    if topic != "orders":
        return {stream: _with_rows(_BUILDERS[stream](chunk, kinds, times)) for stream in streams}
    lines = _lines(chunk)
    return {stream: _ORDER_BUILDERS[stream](chunk, kinds, times, lines) for stream in streams}


def _with_rows(rows: LogRows) -> LogRows:
    """Without the events that no view reads."""
    read = rows.columns["kind"] != NO_ROW
    if read.all():
        return rows
    columns = {name: column[read] for name, column in rows.columns.items()}
    return LogRows(rows.entities, rows.entity[read], rows.event[read], columns)


def numbers(values: Any, null: float, dtype: Any) -> NDArray[Any]:
    """A NumPy copy of Arrow numbers: Arrow's own memory is read-only, which kernels would be compiled for anew."""
    filled = pc.fill_null(values, null) if values.null_count else values
    return np.array(filled.to_numpy(zero_copy_only=False), dtype)


def _within(
    chunk: Chunk,
    name: str,
    values: NDArray[Any],
    low: float,
    high: float,
    event: NDArray[np.int64] | None = None,
    what: str = "",
) -> NDArray[Any]:
    """The values, if all are in the range that the live worker takes in; NaN is in none."""
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        at = int(np.argmax(wrong))
        record = chunk.first + (at if event is None else int(event[at])) + 1
        raise EventLogError(
            f"{chunk.path}: record {record}: column {name!r} holds {values[at]} {what}".rstrip()
            + f", which is not from {low:g} to {high:g}; the live worker would make it a dead letter"
        )
    return values


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


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a chunk's orders; `first` is where each order's lines begin, with the end of the last one."""

    event: NDArray[np.int64]
    first: NDArray[np.int64]
    sku: Any
    quantity: NDArray[np.int64]
    unit_price: NDArray[np.int64]
    value: NDArray[np.int64]


def _lines(chunk: Chunk) -> _Lines:
    lists = chunk.columns["lines"]
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise EventLogError(f"{chunk.path}: column 'lines' holds {lists.type}; it should hold lists of order lines")
    size = numbers(pc.list_value_length(lists), 0, np.int64)
    event = np.repeat(np.arange(len(lists)), size)
    items = lists.flatten()
    quantity, price = (_line_reals(chunk, items, event, name) for name in ("quantity", "unit_price"))
    discount = _line_reals(chunk, items, event, "discount", required=False)
    sku = _line_column(chunk, items, event, "sku", pa.string())
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
    _within(chunk, "lines", size, 1, 10_000, what="order lines")
    _within(chunk, "lines.quantity", quantity, _ABOVE_0, MAX_QUANTITY, event)
    _within(chunk, "lines.unit_price", price, 0.0, MAX_AMOUNT, event)
    _within(chunk, "lines.discount", discount, 0.0, 1.0, event)
    return _Lines(event, first, sku, fixed(quantity), fixed(price), line_values(quantity, price, discount))


def _line_column(
    chunk: Chunk, items: Any, event: NDArray[np.int64], name: str, kind: Any, required: bool = True
) -> Any:
    known = pa.types.is_struct(items.type) and items.type.get_field_index(name) >= 0
    if not known and (required or not pa.types.is_struct(items.type)) and len(items):
        raise EventLogError(f"{chunk.path}: column 'lines' has no {name!r}; it holds lists of {items.type}")
    values = (
        cast(chunk.path, f"lines.{name}", pc.struct_field(items, name), kind) if known else pa.nulls(len(items), kind)
    )
    if required and values.null_count:
        at = int(event[first_null(values)])
        raise EventLogError(f"{chunk.path}: record {chunk.first + at + 1}: a line has no 'lines.{name}'")
    return values


def _line_reals(
    chunk: Chunk, items: Any, event: NDArray[np.int64], name: str, required: bool = True
) -> NDArray[np.float64]:
    return numbers(_line_column(chunk, items, event, name, pa.float64(), required), 0.0, np.float64)


def _typed(stream: str, **columns: NDArray[Any]) -> dict[str, NDArray[Any]]:
    dtypes: dict[str, Any] = {"kind": np.int8, "event_time_ms": np.int64, **STREAMS[stream][1]}
    return {name: np.ascontiguousarray(columns[name], dtypes[name]) for name in dtypes}


def _orders(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: _Lines) -> LogRows:
    def total(values: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
        return np.diff(sums[lines.first])

    columns = _typed(
        "orders",
        kind=kinds,
        event_time_ms=times,
        value=total(lines.value),
        units=total(lines.quantity),
        lines=np.diff(lines.first) * FIXED_POINT,
    )
    return LogRows(chunk.columns["customer_id"], np.arange(len(chunk)), np.arange(len(chunk)), columns)


def _order_lines(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: _Lines) -> LogRows:
    columns = _typed(
        "order_lines",
        kind=kinds[lines.event],
        event_time_ms=times[lines.event],
        product=ids_of(lines.sku),
        quantity=lines.quantity,
        unit_price=lines.unit_price,
    )
    return LogRows(chunk.columns["customer_id"], lines.event, lines.event, columns)


def _demand(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: _Lines) -> LogRows:
    columns = _typed(
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


def _product_lines(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64], lines: _Lines) -> LogRows:
    """Each line twice: of its product, and of all products together, the last of the entities."""
    event, coded = np.repeat(lines.event, 2), pc.dictionary_encode(lines.sku)
    products = pa.array([*coded.dictionary.to_pylist(), ALL], pa.string())
    entity = np.full(len(event), len(products) - 1, np.int64)
    entity[::2] = numbers(coded.indices, 0, np.int64)
    columns = _typed(
        "product_lines",
        kind=kinds[event],
        event_time_ms=times[event],
        customer=ids_of(chunk.columns["customer_id"])[event],
    )
    return LogRows(products, entity, event, columns)


def _clicks(chunk: Chunk, kinds: NDArray[np.int8], times: NDArray[np.int64]) -> LogRows:
    columns = _typed(
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
    columns = _typed(
        "inventory",
        kind=kinds,
        event_time_ms=times,
        quantity=fixed(_within(chunk, "quantity", quantity, -MAX_QUANTITY, MAX_QUANTITY)),
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
    columns = _typed(
        stream,
        kind=kinds,
        event_time_ms=times,
        quantity=fixed(_within(chunk, "quantity", quantity, -MAX_QUANTITY, MAX_QUANTITY)),
        **{where: ids_of(held["location"])},
    )
    return LogRows(entities, np.arange(n), np.arange(n), columns)


_BUILDERS: dict[str, Callable[[Chunk, NDArray[np.int8], NDArray[np.int64]], LogRows]] = {
    "clicks": _clicks,
    "inventory": _inventory,
    "region_stock": _region_stock,
    "product_stock": _product_stock,
}
_ORDER_BUILDERS: dict[str, Callable[[Chunk, NDArray[np.int8], NDArray[np.int64], _Lines], LogRows]] = {
    "orders": _orders,
    "order_lines": _order_lines,
    "demand": _demand,
    "product_lines": _product_lines,
}


def _read(directory: Path, topic: str, streams: Sequence[str]) -> dict[str, Rows]:
    parts: dict[str, list[LogRows]] = {stream: [] for stream in streams}
    for chunk in chunks(topic_file(directory, topic), topic):
        for stream, rows in rows_of_chunk(chunk, topic, streams).items():
            parts[stream].append(rows)
    return {stream: _joined(stream, found) for stream, found in parts.items()}


def _joined(stream: str, parts: Sequence[LogRows]) -> Rows:
    """All rows of known entities as one."""
    empty = _typed(stream, **dict.fromkeys(("kind", "event_time_ms", *STREAMS[stream][1]), np.empty(0)))
    columns = {name: [none] for name, none in empty.items()}
    entities: list[str] = []
    for part in parts:
        texts = part.entities.to_pylist()
        known = np.flatnonzero(numbers(pc.is_valid(part.entities), 0, np.bool_)[part.entity])
        entities += [texts[i] for i in part.entity[known].tolist()]
        for name, held in columns.items():
            held.append(part.columns[name][known])
    return Rows(stream, entities, {name: np.concatenate(held) for name, held in columns.items()})


def read_orders(directory: Path) -> OrderHistory:
    """All orders of an event log.

    Raises:
        FileNotFoundError: the directory has no orders.
        EventLogError: the file does not hold orders.
    """
    found = _read(directory, "orders", ("orders", "order_lines", "demand"))
    return OrderHistory(found["orders"], found["order_lines"], found["demand"])


def read_clicks(directory: Path) -> Rows:
    """All clicks of an event log; raises as `read_orders`."""
    return _read(directory, "clicks", ("clicks",))["clicks"]


def read_inventory(directory: Path, stream: str = "inventory") -> Rows:
    """All inventory events of an event log, as a row stream of that topic has them; raises as `read_orders`."""
    return _read(directory, "inventory", (stream,))[stream]


def read_catalog(directory: Path) -> pl.DataFrame:
    """The catalog: sku, name, unit_price, lead_time_days and what else the topic's schema has."""
    path = topic_file(directory, "catalog")
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)
