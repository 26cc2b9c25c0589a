"""Rows from an event log: a directory with one parquet file a topic, columns as the topic's schema, in arrival order.

The live worker builds the same rows from records (`stream/microbatch.py`); a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.ids import hash64
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

_ORDER_KINDS = {
    "order_placed": OrderKind.PLACED,
    "order_cancelled": OrderKind.CANCELLED,
    "order_returned": OrderKind.RETURNED,
}


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """The order topic as rows: by customer, by customer and line, and by item."""

    orders: Rows
    order_lines: Rows
    demand: Rows


def _table(directory: Path, topic: str) -> pl.DataFrame:
    path = directory / f"{topic}.parquet"
    if not path.exists():
        raise FileNotFoundError(
            f"{directory} is no event log: it has no {topic}.parquet (see `tidecast import --help`)"
        )
    return pl.read_parquet(path)


def _hashes(texts: pl.Series) -> NDArray[np.uint64]:
    """Ids of strings, each distinct one hashed once; null is 0."""
    unique = texts.unique().drop_nulls()
    ids = {text: hash64(text) for text in unique.to_list()}
    return np.array([ids.get(text, 0) for text in texts.to_list()], dtype=np.uint64)


def _kinds(table: pl.DataFrame, kinds: dict[str, Any]) -> NDArray[np.int8]:
    return np.array([kinds[t] for t in table["type"].to_list()], dtype=np.int8)


def read_orders(directory: Path) -> OrderHistory:
    """All orders of an event log.

    Raises:
        FileNotFoundError: the directory has no orders.
    """
    table = _table(directory, "orders").with_row_index("event")
    kinds, times = _kinds(table, _ORDER_KINDS), table["event_time_ms"].to_numpy()
    lines = table.select("event", "location", "lines").explode("lines").unnest("lines")
    event = lines["event"].to_numpy().astype(np.int64)
    raw: dict[str, NDArray[Any]] = {name: lines[name].to_numpy() for name in ("quantity", "unit_price", "discount")}
    quantity, price = fixed(raw["quantity"]), fixed(raw["unit_price"])
    value = line_values(raw["quantity"], raw["unit_price"], raw["discount"])
    customers = table["customer_id"].to_list()
    orders, order_lines = order_rows_of(customers, kinds, times, event, quantity, price, value, _hashes(lines["sku"]))
    items = (lines["location"] + ":" + lines["sku"]).to_list()
    demand = rows_of("demand", items, kind=kinds[event], event_time_ms=times[event], quantity=quantity, value=value)
    return OrderHistory(orders, order_lines, demand)


def read_clicks(directory: Path) -> Rows:
    """All clicks of an event log."""
    table = _table(directory, "clicks")
    kinds = {kind.name.lower(): kind for kind in ClickKind}
    return rows_of(
        "clicks",
        table["customer_id"].to_list(),
        kind=_kinds(table, kinds),
        event_time_ms=table["event_time_ms"].to_numpy(),
        product=_hashes(table["sku"]),
    )


def read_inventory(directory: Path) -> Rows:
    """All inventory events of an event log."""
    table = _table(directory, "inventory")
    kinds = {kind.name.lower(): kind for kind in InventoryKind}
    return rows_of(
        "inventory",
        (table["location"] + ":" + table["sku"]).to_list(),
        kind=_kinds(table, kinds),
        event_time_ms=table["event_time_ms"].to_numpy(),
        quantity=fixed(table["quantity"].fill_null(0.0).to_numpy()),
        expected_at_ms=table["expected_at_ms"].fill_null(0).to_numpy(),
        reference=_hashes(table["purchase_order_id"]),
        simulated=table["simulated"].to_numpy().astype(np.int64),
    )


def read_catalog(directory: Path) -> pl.DataFrame:
    """The catalog: sku, name, unit_price, lead_time_days and what else the topic's schema has."""
    return _table(directory, "catalog")
