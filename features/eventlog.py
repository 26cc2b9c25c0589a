"""Rows from an event log: a directory with one parquet or JSONL file a topic, columns as the topic's schema, in
arrival order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.compute as pc

from features.logcolumns import numbers
from features.logfile import chunks, topic_file
from features.logrows import LogRows, rows_of_chunk, typed
from features.rows import STREAMS, Rows

#: The columns of a catalog that holds nothing.
_CATALOG = {"sku": pl.String, "name": pl.String, "unit_price": pl.Float64}


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """The order topic as rows: by customer, by customer and line, and by item."""

    orders: Rows
    order_lines: Rows
    demand: Rows


def _read(directory: Path, topic: str, streams: Sequence[str]) -> dict[str, Rows]:
    parts: dict[str, list[LogRows]] = {stream: [] for stream in streams}
    for chunk in chunks(topic_file(directory, topic), topic):
        for stream, rows in rows_of_chunk(chunk, topic, streams).items():
            parts[stream].append(rows)
    return {stream: _joined(stream, found) for stream, found in parts.items()}


def _joined(stream: str, parts: Sequence[LogRows]) -> Rows:
    """All rows of known entities as one."""
    empty = typed(stream, **dict.fromkeys(("kind", "event_time_ms", *STREAMS[stream][1]), np.empty(0)))
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
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_ndjson(path) if path.stat().st_size else pl.DataFrame(schema=_CATALOG)
