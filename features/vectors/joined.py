"""Joined columns of reorder rows and of offers: what the shop as a whole says of a product, as of the end of yesterday.

Yesterday is the UTC day before that of the as-of time. So what a row sees does not depend on which of two orders of one
minute came first, and not on how far the partitions of `demand` have come today.

What a shop usually has are its order lines a day over the 84 days before today, or since its first ones in them. So a
surge before Christmas is seen, and yet a model means the same in a shop ten times as large.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Times
from features.discovery import discover
from features.vectors import reorder
from features.vectors.reorder import ReorderRows

#: The view that is read, of a product and of all products together.
VIEW = "product_demand"
#: What is read of it, as view.aggregation.
READS = ("product_demand.placed", "product_demand.lines", "product_demand.customers")

#: Columns in order, with what each means.
FEATURES: dict[str, str] = {
    "shop_ppm_7d": "its order lines of the 7 days before today, of a million that the shop usually has in as many",
    "shop_ppm_28d": "its order lines of the 28 days before today, of a million that the shop usually has in as many",
    "shop_ppm_84d": "its order lines of the 84 days before today, of a million that the shop usually has in as many",
    "shop_trend_28d": "logarithm of its lines over 7 days over those of 28, both of a thousand, plus 2",
    "shop_trend_84d": "logarithm of its lines over 28 days over those of 84, both of a thousand, plus 2",
    "shop_again": "order lines of this product a customer who ever bought it, until the end of yesterday",
}

#: Days before today that are counted.
WINDOWS_DAYS = (7, 28, 84)
#: Order lines of a thousand that are added before shares are compared.
_SMALL = 2.0


def is_joined(feature: str) -> bool:
    """Whether a feature of the reorder vector is joined, or made of such ones.

    >>> is_joined("shop_ppm_7d"), is_joined("product_place_shop_7d"), is_joined("product_orders")
    (True, True, False)
    """
    return feature.startswith("shop_") or "_shop_" in feature


@dataclass(frozen=True, slots=True)
class ProductColumns:
    """What is joined, a row a product.

    Args:
        columns: float32 of shape (n, 6), as `FEATURES`; NaN is unknown.
        version: order lines of the shop until the end of yesterday that the records had taken in, float64 of shape
            (n,); NaN where they were too far ahead to be read as of yesterday. Equal versions as of one day mean equal
            columns.
    """

    columns: NDArray[np.float32]
    version: NDArray[np.float64]


def product_columns(products: NDArray[np.void], everything: NDArray[np.void], as_of_ms: Times) -> ProductColumns:
    """What records say of products as of the end of the day before `as_of_ms`.

    Args:
        products: records of `product_demand`, of shape (n,).
        everything: those of all products together that were read beside them, of shape (n,).
        as_of_ms: int64 of shape (n,).
    """
    slots = np.arange(len(products))
    lines, total = _lines(products, slots, as_of_ms), _lines(everything, slots, as_of_ms)
    sold = sold_columns(lines, total, _days_told(everything, slots, as_of_ms))
    customers, known = _customers(products, slots, as_of_ms)
    again = np.where(customers > 0, _until_yesterday(products, slots, as_of_ms) / np.maximum(customers, 1.0), np.nan)
    seen = _until_yesterday(everything, slots, as_of_ms)
    return ProductColumns(
        columns=np.column_stack([sold, again]).astype(np.float32),
        version=np.where(known & _customers(everything, slots, as_of_ms)[1], seen, np.nan),
    )


def sold_columns(lines: Any, total: Any, days: Any) -> NDArray[np.float64]:
    """What the shop sells of products: all columns but the last, (n, 5).

    Args:
        lines: order lines of a product in each window, of shape (n, windows).
        total: those of the shop, of shape (n, windows).
        days: of the longest window since the shop's first order in it, of shape (n,).

    >>> sold_columns(np.array([[2, 2, 6]]), np.array([[100, 250, 600]]), np.array([60])).round(2).tolist()
    [[28571.43, 7142.86, 7142.86, 0.79, -0.18]]
    """
    of_usual = 1e6 * (lines * days[:, None]) / (np.array(WINDOWS_DAYS) * np.maximum(total[:, -1:], 1))
    shares = (1000.0 * lines / np.maximum(total, 1)).T
    trends = [np.log((few + _SMALL) / (many + _SMALL)) for few, many in itertools.pairwise(shares)]
    return np.column_stack([of_usual, *trends])


def put_in(rows: ReorderRows, columns: NDArray[np.float32]) -> None:
    """Fills in the joined columns of reorder rows, float32 of shape (n, 6), and what follows of them; in place."""
    reorder.join(rows.customer, rows.features, columns)


def _part(records: NDArray[np.void], name: str, slots: NDArray[np.int64], as_of_ms: Times) -> Any:
    return discover()[VIEW].part(records, name, slots, as_of_ms)


def _lines(records: NDArray[np.void], slots: NDArray[np.int64], as_of_ms: Times) -> NDArray[np.float64]:
    """Order lines of the full days of each window, float64 of shape (n, windows)."""
    tiles, state, at = _part(records, "lines", slots, as_of_ms)
    last = np.tile(np.array(WINDOWS_DAYS), (len(slots), 1))
    return np.asarray(tiles.sums(state, at, as_of_ms, np.ones_like(last), last))


def _days_told(records: NDArray[np.void], slots: NDArray[np.int64], as_of_ms: Times) -> NDArray[np.int64]:
    """Of the longest window, the days since the first with an order line, int64 of shape (n,); all, without any."""
    tiles, state, at = _part(records, "lines", slots, as_of_ms)
    furthest = tiles.furthest(state, at, as_of_ms, WINDOWS_DAYS[-1])
    return np.where(furthest > 0, furthest, WINDOWS_DAYS[-1])


def _until_yesterday(records: NDArray[np.void], slots: NDArray[np.int64], as_of_ms: Times) -> NDArray[np.float64]:
    """Order lines ever, but those of today and later."""
    _, placed, where = _part(records, "placed", slots, as_of_ms)
    tiles, state, at = _part(records, "lines", slots, as_of_ms)
    ahead = np.full((len(slots), 1), -tiles.length)
    since = tiles.sums(state, at, as_of_ms, ahead, np.zeros_like(ahead))[:, 0]
    return np.asarray(placed["n"][where] - since)


def _customers(records: NDArray[np.void], slots: NDArray[np.int64], as_of_ms: Times) -> Any:
    """Customers until the end of yesterday, and whether that is still known."""
    sketch, state, at = _part(records, "customers", slots, as_of_ms)
    yesterday = as_of_ms // DAY_MS - 1
    return sketch.until(state, at, yesterday), sketch.known(state, at, yesterday)
