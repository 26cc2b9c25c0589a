"""What the shop as a whole says of a product, point in time: how popular it is, and whether customers come back for it.

These are the joined features of reorder rows and of offers, as the engine joins them from its views of products:
everything is as of the end of yesterday, the UTC day before that of the as-of time, so that what a row sees does not
depend on which of two orders of one minute came first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import Arrays
from export.history import Log
from features.aggregations.base import DAY_MS
from features.ids import hash64
from features.rows import OrderKind
from features.vectors.joined import WINDOWS_DAYS, sold_columns
from features.vectors.reorder import join

#: Bits of a day within a search key.
_BITS = 20
#: Arrays that popularity is asked of: the day of each order line; product and day of each line, and of each customer's
#: first line of a product.
SHOP = ("shop_day", "shop_line", "shop_customer")


class Popularity:
    """All order lines by product and day, to be asked as of any moment.

    Args:
        arrays: what `of_log` gave.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._days, self._lines, self._customers = (arrays[name] for name in SHOP)

    @staticmethod
    def of_log(log: Log, products: NDArray[np.uint64]) -> Arrays:
        """Days and keys in ascending order, int64, by the names in `SHOP`.

        Args:
            log: the event log; what is asked as of a moment sees only whole days before it.
            products: distinct ids of shape (p,); rows name a product by its index into them.
        """
        product, day, customer = _lines(log, products)
        key = (product << _BITS) + day
        known = np.flatnonzero((product >= 0) & (customer != 0))
        order = known[np.lexsort((key[known], customer[known]))]
        bought = np.stack([customer[order], product[order].astype(np.uint64)])
        first = np.r_[True, (np.diff(bought.astype(np.int64)) != 0).any(axis=0)][: len(order)]
        found = np.sort(day), np.sort(key[product >= 0]), np.sort(key[order[first]])
        return dict(zip(SHOP, found, strict=True))

    def columns(self, rows: Arrays) -> NDArray[np.float32]:
        """The columns `JOINED` of the vector for rows with `product` and `as_of_ms`, float32 of shape (n, 6)."""
        product, today = rows["product"], rows["as_of_ms"] // DAY_MS
        lines = np.column_stack([_between(self._lines, product, today - days, today) for days in WINDOWS_DAYS])
        total = np.column_stack([self._ordered(today, days) for days in WINDOWS_DAYS])
        sold = sold_columns(lines, total, self._days_told(today))
        return np.column_stack([sold, self._again(product, today)]).astype(np.float32)

    def join(self, rows: Arrays) -> Arrays:
        """The rows with their joined features known; in place. Those of a `group` are all there, side by side."""
        join(rows["group"], rows["features"], self.columns(rows))
        return rows

    def _ordered(self, today: NDArray[np.int64], days: int) -> NDArray[np.int64]:
        """Order lines of the whole shop in the days before."""
        return np.searchsorted(self._days, today) - np.searchsorted(self._days, today - days)

    def _days_told(self, today: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the longest window, the days since the first with an order line; all, without any."""
        longest = WINDOWS_DAYS[-1]
        first = np.append(self._days, np.iinfo(np.int64).max)[np.searchsorted(self._days, today - longest)]
        return np.where(first < today, today - first, longest)

    def _again(self, product: NDArray[np.int64], today: NDArray[np.int64]) -> Any:
        """Order lines a customer; unknown before the first one."""
        lines = _between(self._lines, product, 0, today)
        customers = _between(self._customers, product, 0, today)
        return np.where(customers > 0, lines / np.maximum(customers, 1), np.nan)


def _between(keys: NDArray[np.int64], product: NDArray[np.int64], since: Any, until: Any) -> NDArray[np.int64]:
    """How many of the keys of each product are of the days from `since` until before `until`."""
    low = product << _BITS
    return np.asarray(np.searchsorted(keys, low + until) - np.searchsorted(keys, low + np.maximum(since, 0)))


def _lines(log: Log, products: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Product (-1: none of `products`), day and customer's id (0: not known) of each line that anybody ordered."""
    demand = log.history.demand
    placed = np.flatnonzero(demand.columns["kind"] == OrderKind.PLACED)
    items = {item: hash64(item.split(":", 1)[1]) for item in dict.fromkeys(demand.entities)}
    ids = np.array([items[demand.entities[i]] for i in placed.tolist()], np.uint64)
    order = np.argsort(products)
    at = order[np.minimum(np.searchsorted(products, ids, sorter=order), len(products) - 1)]
    product = np.where(products[at] == ids, at, -1)
    return product, demand.columns["event_time_ms"][placed] // DAY_MS, demand.columns["customer"][placed]
