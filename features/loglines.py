"""Order lines of an event log: flat columns of all lines of a chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.logcolumns import numbers, within
from features.logfile import Chunk, EventLogError, cast, first_null
from features.rows import MAX_AMOUNT, MAX_QUANTITY, fixed, line_values

_ABOVE_0 = 5e-324


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a chunk's orders; `first` is where each order's lines begin, with the end of the last one."""

    event: NDArray[np.int64]
    first: NDArray[np.int64]
    sku: Any
    quantity: NDArray[np.int64]
    unit_price: NDArray[np.int64]
    value: NDArray[np.int64]


def lines_of(chunk: Chunk) -> Lines:
    """The lines of all orders of a chunk.

    Raises:
        EventLogError: a line without sku, quantity or price, or one that the live worker would not take in.
    """
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
    within(chunk, "lines", size, 1, 10_000, what="order lines")
    within(chunk, "lines.quantity", quantity, _ABOVE_0, MAX_QUANTITY, event)
    within(chunk, "lines.unit_price", price, 0.0, MAX_AMOUNT, event)
    within(chunk, "lines.discount", discount, 0.0, 1.0, event)
    return Lines(event, first, sku, fixed(quantity), fixed(price), line_values(quantity, price, discount))


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
