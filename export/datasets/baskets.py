"""Baskets: every order that a known customer placed, as a set of products, and rows of all that was bought before.

A basket is an order. Rows come from the live views and the live vector code; only the repertoire is as wide as the
log needs, so that no product of a customer's past is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.products import Products
from export.datasets.upcoming import Upcoming
from export.history import Level, Log, customer_levels
from features.aggregations import Repertoire
from features.discovery import discover
from features.rows import FIXED_POINT, OrderKind
from features.vectors import views_read
from features.vectors.reorder import READS, reorder_rows
from features.view import View

Arrays = dict[str, NDArray[Any]]

#: Of arrays of rows, those that have no row each: of products, and of the moments that `group` tells.
SHARED = ("products", "words", "recent", "recent_age_days")


@dataclass(frozen=True, slots=True)
class Baskets:
    """All baskets of a log, in its order; b baskets, l pairs of a basket and a product in it.

    Args:
        customers: names; `customer` is an index into them.
        products: ids in ascending order, uint64 of shape (p,); a product is an index into them.
        of_event: basket of each event of `history.orders`, -1 for none, int64.
        customer, time_ms, earlier, size: of each basket, int64 of shape (b,); `earlier` counts the customer's baskets
            before it, `size` its products.
        line_basket, line_product: int64 of shape (l,), ascending.
    """

    customers: list[str]
    products: NDArray[np.uint64]
    of_event: NDArray[np.int64]
    customer: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    earlier: NDArray[np.int64]
    size: NDArray[np.int64]
    line_basket: NDArray[np.int64]
    line_product: NDArray[np.int64]

    def holds(self, basket: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each basket holds a product; bool of the shape of both."""
        keys = self.line_basket * len(self.products) + self.line_product
        wanted = basket * len(self.products) + product
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.asarray(keys[at] == wanted)


def baskets_of(log: Log) -> Baskets:
    """The baskets of a log."""
    orders, lines = log.history.orders, log.history.order_lines
    placed = np.flatnonzero(orders.columns["kind"] == OrderKind.PLACED)
    of_event = np.full(len(orders), -1, np.int64)
    of_event[placed] = np.arange(len(placed))
    names = {key: i for i, key in enumerate(dict.fromkeys(orders.entities))}
    customer = np.array([names[orders.entities[i]] for i in placed.tolist()], np.int64)
    line_basket = of_event[np.repeat(np.arange(len(orders)), orders.columns["lines"] // FIXED_POINT)]
    products, product = np.unique(lines.columns["product"], return_inverse=True)
    pairs = np.unique((line_basket * len(products) + product)[line_basket >= 0])
    basket, product = np.divmod(pairs, len(products))
    return Baskets(
        customers=list(names),
        products=products,
        of_event=of_event,
        customer=customer,
        time_ms=orders.columns["event_time_ms"][placed],
        earlier=_earlier(customer),
        size=np.bincount(basket, minlength=len(placed)),
        line_basket=basket,
        line_product=product,
    )


def _earlier(customer: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(customer, kind="stable")
    sorted_ = customer[order]
    first = np.searchsorted(sorted_, sorted_)
    out = np.empty(len(customer), np.int64)
    out[order] = np.arange(len(customer)) - first
    return out


def wide_views(baskets: Baskets) -> list[View]:
    """The views of the reorder vector, with a repertoire that holds all products of any customer of the log."""
    owner = baskets.customer[baskets.line_basket]
    bought = np.unique(owner * len(baskets.products) + baskets.line_product)
    size = max(2, int(np.bincount(bought // len(baskets.products)).max()))
    return [_widened(discover()[name], size) for name in views_read(READS)]


def _widened(view: View, size: int) -> View:
    wide = (replace(a, size=size) if isinstance(a, Repertoire) else a for a in view.aggregations)
    return replace(view, aggregations=tuple(wide))


def rows_before(log: Log, baskets: Baskets, wanted: NDArray[np.bool_], views: Sequence[View] | None = None) -> Arrays:
    """Rows at the moment of each wanted basket, which is not part of its own past.

    Args:
        log, baskets: the event log.
        wanted: bool of shape (b,).
        views: what is folded; `wide_views` where None.

    Returns:
        features float32 (n, 33); product, basket, group (the basket), as_of_ms int64 (n,); label bool (n,): the basket
        holds the product; and `SHARED`: products uint64 (p,), words int16 (p, 8), recent int32 (b, 16) and
        recent_age_days float32 (b, 16), what the basket's customer bought lately as `features.vectors.reorder` tells
        it, -1 for none.
    """
    parts = []
    for level in customer_levels(log, wide_views(baskets) if views is None else views):
        basket = np.where(level.next_event >= 0, baskets.of_event[level.next_event], -1)
        keep = (basket >= 0) & wanted[basket]
        parts.append(_rows(level, baskets, keep, level.next_ms[keep], basket[keep]))
    arrays = _joined(log, baskets, parts)
    return arrays | {"label": baskets.holds(arrays["basket"], arrays["product"])}


def rows_after(log: Log, baskets: Baskets, wanted: NDArray[np.bool_], views: Sequence[View] | None = None) -> Arrays:
    """Rows right after each wanted basket, whose products are among them.

    Returns:
        As `rows_before`, with next_days float64 (n,) in place of label: until the product's next purchase.
    """
    parts = []
    for level in customer_levels(log, wide_views(baskets) if views is None else views):
        basket = baskets.of_event[level.event]
        keep = (basket >= 0) & wanted[basket]
        parts.append(_rows(level, baskets, keep, level.as_of_ms[keep], basket[keep]))
    arrays = _joined(log, baskets, parts)
    return arrays | {"next_days": days_until(baskets, arrays)}


def days_until(baskets: Baskets, rows: Arrays) -> NDArray[np.float64]:
    """Days from each row to the first later second in which its customer bought its product, infinite for never."""
    width = len(baskets.products)
    bought = baskets.customer[baskets.line_basket] * width + baskets.line_product
    purchases = Upcoming(bought, baskets.time_ms[baskets.line_basket] // 1000)
    return purchases.days(baskets.customer[rows["basket"]] * width + rows["product"], rows["as_of_ms"] // 1000)


def taken(rows: Arrays, keep: NDArray[Any]) -> Arrays:
    """Some of the rows, by mask or index; what has no row each stays."""
    return {name: column if name in SHARED else column[keep] for name, column in rows.items()}


def numbered(ids: NDArray[np.uint64], products: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Index of product ids into `products`, -1 for those that are not among them; int32 of the shape of `ids`."""
    at = np.minimum(np.searchsorted(products, ids), len(products) - 1)
    return np.where(products[at] == ids, at, -1).astype(np.int32)


def words_of(log: Log, products: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Word ids of the names of products, (p, 8); zeros where the catalog has no such product."""
    catalog = Products(log)
    at = catalog.index(products)
    return np.where(at[:, None] >= 0, catalog.words[at], 0).astype(np.int16)


def _rows(level: Level, baskets: Baskets, keep: Any, as_of_ms: Any, basket: Any) -> Arrays:
    rows = reorder_rows(level.table, level.slots[keep], as_of_ms)
    of = rows.customer
    return {
        "features": rows.features,
        "product": np.searchsorted(baskets.products, rows.product),
        "basket": basket[of],
        "group": basket[of],
        "as_of_ms": as_of_ms[of],
        "asked": basket,
        "recent": numbered(rows.recent, baskets.products),
        "recent_age_days": rows.age_days,
    }


def _joined(log: Log, baskets: Baskets, parts: list[Arrays]) -> Arrays:
    """All rows; what is a customer's at a basket is found by the basket's number."""
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    asked = arrays.pop("asked")
    for name, empty in (("recent", -1), ("recent_age_days", np.nan)):
        of_all = np.full((len(baskets.customer), arrays[name].shape[1]), empty, arrays[name].dtype)
        of_all[asked] = arrays[name]
        arrays[name] = of_all
    return arrays | {"products": baskets.products, "words": words_of(log, baskets.products)}
