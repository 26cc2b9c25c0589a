"""Row streams: the columns that folds read, one row an event or an order line, in log order.

| stream | topic | entity | one row is |
|---|---|---|---|
| `orders` | orders | customer | an order event |
| `order_lines` | orders | customer | a product line of an order event |
| `clicks` | clicks | customer | a click event |
| `demand` | demand | item | an order line, repartitioned to its item |
| `product_lines` | demand | product | an order line, once for its product and once for all of them (`ALL`) |
| `region_stock` | inventory | region | an inventory event at a shop of a region, of its product there (region:sku) |
| `product_stock` | inventory | product | an inventory event of a product, at whatever location |
| `inventory` | inventory | item | an inventory event of stock (prices make no row) |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Sums of quantities and money are kept as integers of a thousandth: exact, and free of the order of addition.
FIXED_POINT = 1000
#: The largest quantity and the largest price or amount that events may have; what is larger is a mistake. Sums of
#: hundreds of them stay within the 48 bits of a tile of quantities, sums of thousands within 64 bits.
MAX_QUANTITY = 1e9
MAX_AMOUNT = 1e11
#: Event times reach to the year 2106: several are kept as whole seconds in four bytes.
MAX_TIME_MS = 4_294_967_295_000
MIN_TIME_MS = 1

Floats = Sequence[float] | NDArray[Any]


class OrderKind(IntEnum):
    """What an order event, an order line or a demand record does."""

    PLACED = 0
    CANCELLED = 1
    RETURNED = 2


class ClickKind(IntEnum):
    """What a customer did on the site."""

    PRODUCT_VIEW = 0
    ADD_TO_CART = 1
    REMOVE_FROM_CART = 2
    SEARCH = 3
    OFFER_IMPRESSION = 4
    OFFER_CLICK = 5
    OFFER_REDEEMED = 6


class InventoryKind(IntEnum):
    """What happened to the stock of an item."""

    STOCK_COUNTED = 0
    STOCK_RECEIVED = 1
    STOCK_ADJUSTED = 2
    PURCHASE_ORDER_PLACED = 3
    UNITS_SOLD = 4
    RAN_OUT = 5
    RESTOCKED = 6


#: The kind of an event that no view reads: it makes no row, so no record changes by it.
NO_ROW = -1

#: The entity that is all products together.
ALL = "*"

#: Columns of each row stream beside `kind` (int8) and `event_time_ms` (int64), with their dtypes.
STREAMS: dict[str, tuple[str, dict[str, type[np.generic]]]] = {
    "orders": ("customer", {"value": np.int64, "units": np.int64, "lines": np.int64}),
    "order_lines": ("customer", {"product": np.uint64, "quantity": np.int64, "unit_price": np.int64}),
    "clicks": ("customer", {"product": np.uint64, "session": np.uint64}),
    "demand": ("item", {"quantity": np.int64, "value": np.int64, "customer": np.uint64}),
    "product_lines": ("product", {"customer": np.uint64}),
    "region_stock": ("region", {"quantity": np.int64, "shop": np.uint64}),
    "product_stock": ("product", {"quantity": np.int64, "place": np.uint64}),
    "inventory": (
        "item",
        {"quantity": np.int64, "expected_at_ms": np.int64, "reference": np.uint64, "simulated": np.int64},
    ),
}


def region_of(location: str) -> str | None:
    """The region of a location that names one before a slash; None for others.

    >>> region_of("leeds/store-4"), region_of("warehouse")
    ('leeds', None)
    """
    region, slash, _ = location.partition("/")
    return region if slash else None


def fixed(values: Floats) -> NDArray[np.int64]:
    """Quantities or money as fixed-point integers (thousandths, rounded half to even), int64 of shape (n,).

    What is beyond 1e11 is taken as that, so that the sum of an order's ten thousand lines stays in range.

    >>> fixed([1.5, 0.0004]).tolist()
    [1500, 0]
    """
    limited = np.clip(np.asarray(values, dtype=np.float64), -MAX_AMOUNT, MAX_AMOUNT)
    return np.rint(limited * FIXED_POINT).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one stream in log order.

    Args:
        stream: a key of `STREAMS`.
        entities: the entity key of each row, length n.
        columns: `kind` (int8), `event_time_ms` (int64) and the stream's own columns, each of shape (n,).
    """

    stream: str
    entities: Sequence[str]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.entities)

    def take(self, index: NDArray[np.intp]) -> Rows:
        """The rows at `index`, in that order."""
        picked = [self.entities[i] for i in index]
        return Rows(self.stream, picked, {name: col[index] for name, col in self.columns.items()})


def rows_of(stream: str, entities: Sequence[str], **columns: Any) -> Rows:
    """Builds rows with the stream's dtypes; a missing or unknown column is an error.

    >>> rows_of("clicks", ["7"], kind=[0], event_time_ms=[5], product=[9], session=[0]).columns["product"].dtype
    dtype('uint64')
    """
    dtypes: dict[str, Any] = {"kind": np.int8, "event_time_ms": np.int64, **STREAMS[stream][1]}
    if dtypes.keys() != columns.keys():
        raise ValueError(f"row stream {stream!r} has columns {sorted(dtypes)}, got {sorted(columns)}")
    return Rows(stream, entities, {n: np.asarray(columns[n], dtype=d) for n, d in dtypes.items()})


def line_values(quantity: Floats, unit_price: Floats, discount: Floats) -> NDArray[np.int64]:
    """What order lines are worth, as fixed-point money, int64 of shape (n,).

    >>> line_values([2.0], [1.25], [0.1]).tolist()
    [2250]
    """
    # The discount first, as in the price that `demand` carries: the same roundings, so the same bits for the item.
    price = np.asarray(unit_price, np.float64) * (1.0 - np.asarray(discount, np.float64))
    return fixed(np.asarray(quantity, np.float64) * price)


def order_rows_of(
    customers: Sequence[str | None],
    kinds: NDArray[np.int8],
    times: NDArray[np.int64],
    line_event: NDArray[np.int64],
    quantity: NDArray[np.int64],
    unit_price: NDArray[np.int64],
    value: NDArray[np.int64],
    product: NDArray[np.uint64],
) -> tuple[Rows, Rows]:
    """The streams `orders` and `order_lines` of a run of order events and their lines; guests are left out.

    Args:
        customers, kinds, times: one an event, in log order.
        line_event: the event of each line, ascending.
        quantity, unit_price, value, product: one a line, fixed point.
    """
    n = len(customers)
    known = np.array([c is not None for c in customers], dtype=bool)
    worth, units, lines = (np.zeros(n, np.int64) for _ in range(3))
    np.add.at(worth, line_event, value)
    np.add.at(units, line_event, quantity)
    np.add.at(lines, line_event, FIXED_POINT)
    keep = np.flatnonzero(known)
    names = [c for c in customers if c is not None]
    orders = rows_of(
        "orders",
        names,
        kind=kinds[keep],
        event_time_ms=times[keep],
        value=worth[keep],
        units=units[keep],
        lines=lines[keep],
    )
    held = known[line_event]
    of = line_event[held]
    order_lines = rows_of(
        "order_lines",
        [customers[i] for i in of.tolist()],
        kind=kinds[of],
        event_time_ms=times[of],
        product=product[held],
        quantity=quantity[held],
        unit_price=unit_price[held],
    )
    return orders, order_lines
