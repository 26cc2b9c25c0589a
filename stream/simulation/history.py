"""The real orders as columns: what the simulators look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stream.events import OrderEvent, OrderPlaced, Product


@dataclass(frozen=True, slots=True)
class SalesHistory:
    """Placed orders and their lines in event-time order; n orders, m lines.

    Args:
        products: the catalog; `line_product` points into it.
        customers: names of the customers; `order_customer` points into it.
        order_time_ms: event times, int64 of shape (n,).
        order_customer: the customer of each order, -1 for guests, int64 of shape (n,).
        first_line: where each order's lines begin, with the end of the last one, int64 of shape (n + 1,).
        line_time_ms: event time of each line's order, int64 of shape (m,).
        line_product: int64 of shape (m,).
        line_quantity: units, float64 of shape (m,).
    """

    products: Sequence[Product]
    customers: Sequence[str]
    order_time_ms: NDArray[np.int64]
    order_customer: NDArray[np.int64]
    first_line: NDArray[np.int64]
    line_time_ms: NDArray[np.int64]
    line_product: NDArray[np.int64]
    line_quantity: NDArray[np.float64]

    def lines_before(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many lines are strictly older than each time: the past that may be looked at, shape of `times_ms`."""
        return np.searchsorted(self.line_time_ms, times_ms, side="left").astype(np.int64)


def sales_history(orders: Sequence[OrderEvent], catalog: Sequence[Product]) -> SalesHistory:
    """Columns of the placed orders.

    Args:
        orders: topic `orders` in any order.
        catalog: must have each product that was ordered.
    """
    placed = [order for order in orders if isinstance(order, OrderPlaced)]
    placed.sort(key=lambda order: order.event_time_ms)
    product_of = {product.sku: index for index, product in enumerate(catalog)}
    customer_of: dict[str | None, int] = {None: -1}
    for order in placed:
        customer_of.setdefault(order.customer_id, len(customer_of) - 1)
    lines = list(chain.from_iterable(order.lines for order in placed))
    sizes = np.array([len(order.lines) for order in placed], dtype=np.int64)
    times = np.array([order.event_time_ms for order in placed], dtype=np.int64)
    return SalesHistory(
        products=catalog,
        customers=[name for name in customer_of if name is not None],
        order_time_ms=times,
        order_customer=np.array([customer_of[order.customer_id] for order in placed], dtype=np.int64),
        first_line=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)]),
        line_time_ms=np.repeat(times, sizes),
        line_product=np.array([product_of[line.sku] for line in lines], dtype=np.int64),
        line_quantity=np.array([line.quantity for line in lines], dtype=np.float64),
    )
