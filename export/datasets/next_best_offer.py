"""Rows of (customer just before an order): what was bought before, and the products of that order.

The state after order k is read at the time of order k + 1; the label is what order k + 1 held. Clicks are not folded:
in the data sets at hand they are simulated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.popularity import Popularity
from export.datasets.products import Products
from export.history import Level, Log, customer_levels
from features.rows import FIXED_POINT, OrderKind
from features.vectors.next_best_offer import FEATURES, offer_rows

Arrays = dict[str, NDArray[Any]]

#: The column of a customer's orders.
ORDERS = list(FEATURES).index("customer_orders")


def build(log: Log, from_ms: int) -> Arrays:
    """A row an order, from `from_ms` on, of a customer that had a state before it.

    Returns:
        features float32 (n, 8); product int32 (n, 32), index into the products, -1 for none; age_days, viewed
        float32 (n, 32); own_product int32 (n, 32) as product, own float32 (n, 32, 8); as_of_ms, state_ms int64 (n,);
        customer int64 (n,). Products: product_words int64 (p, 8), product_price float32 (p,). Labels: target_row,
        target_product int32 (t,), sorted by row. All lines ever ordered: line_customer, line_product int32 (l,),
        line_ms int64 (l,), for popularity and the baselines; and what `export.datasets.popularity` is asked of, with
        products as here.
    """
    orders, lines = log.history.orders, log.history.order_lines
    products = Products(log)
    line_event = np.repeat(np.arange(len(orders)), orders.columns["lines"] // FIXED_POINT)
    line_product = products.index(lines.columns["product"])
    codes = {key: i for i, key in enumerate(dict.fromkeys(orders.entities))}
    parts = [_rows(level, log, products, codes, from_ms) for level in customer_levels(log)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays |= _targets(arrays.pop("event"), line_event, line_product)
    placed = lines.columns["kind"] == OrderKind.PLACED
    arrays |= {
        "product_words": products.words,
        "product_price": products.price,
        "line_customer": np.array([codes[key] for key in lines.entities], np.int32)[placed],
        "line_product": line_product[placed],
        "line_ms": lines.columns["event_time_ms"][placed],
        "line_event": line_event[placed],
    }
    return arrays | Popularity.of_log(log, products.ids)


def _rows(level: Level, log: Log, products: Products, codes: dict[str, int], from_ms: int) -> Arrays:
    kinds = log.history.orders.columns["kind"]
    ordered = (level.next_event >= 0) & (kinds[level.next_event] == OrderKind.PLACED)
    # A next order in the same second is a part of this one.
    keep = ordered & (level.next_ms // 1000 > level.as_of_ms // 1000) & (level.next_ms >= from_ms)
    slots, as_of = level.slots[keep], level.next_ms[keep]
    rows = offer_rows(level.table, slots, as_of)
    return {
        "features": rows.features,
        "product": products.index(rows.product),
        "age_days": rows.age_days,
        "viewed": rows.viewed,
        "own_product": products.index(rows.own_product),
        "own": rows.own,
        "as_of_ms": as_of,
        "state_ms": level.table.event_time_ms(slots),
        "customer": np.array([codes[str(level.table.keys[s])] for s in slots.tolist()], np.int64),
        "event": level.next_event[keep],
    }


def _targets(event: Any, line_event: Any, line_product: Any) -> Arrays:
    row_of = np.full(int(line_event.max()) + 1, -1, np.int64)
    row_of[event] = np.arange(len(event))
    row = row_of[line_event]
    held = (row >= 0) & (line_product >= 0)
    pairs = np.unique(np.stack([row[held], line_product[held]], axis=1), axis=0)
    return {"target_row": pairs[:, 0].astype(np.int32), "target_product": pairs[:, 1].astype(np.int32)}
