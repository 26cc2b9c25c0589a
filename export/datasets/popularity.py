"""What the shop as a whole says of a product, point in time: how popular it is, and whether others come back for it.

These are the joined features of the reorder vector. The live engine does not join views of products to those of
customers yet, so they are unknown in its vectors; what they are worth is in the model card.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import Arrays, Baskets
from features.vectors.reorder import FEATURES, JOINED

_WINDOWS_DAYS = (7, 30, 90)
_DAY_S = 86_400
_BITS = 32
#: Orders of a thousand that are added before shares are compared.
_SMALL = 2.0
#: Of the prior: so many customers, of whom a fifth came back.
_PRIOR, _PRIOR_SHARE = 10.0, 0.2
_JOINED = [list(FEATURES).index(name) for name in JOINED]
_ORDERS, _SINCE = (list(FEATURES).index(name) for name in ("product_orders", "product_days_since"))


class Popularity:
    """All purchases by product and time, to be asked as of any moment.

    Args:
        baskets: of the whole log; what is asked as of a moment sees only what was before it.
    """

    def __init__(self, baskets: Baskets) -> None:
        seconds = baskets.time_ms[baskets.line_basket] // 1000
        product, owner = baskets.line_product, baskets.customer[baskets.line_basket]
        self._orders = np.sort(baskets.time_ms // 1000)
        self._bought = np.sort((product << _BITS) + seconds)
        order = np.lexsort((seconds, product, owner))
        pair = (owner * len(baskets.products) + product)[order]
        first = np.r_[True, pair[1:] != pair[:-1]]
        second = np.r_[False, first[:-1]] & ~first
        when = ((product << _BITS) + seconds)[order]
        self._first, self._second = np.sort(when[first]), np.sort(when[second])

    def columns(self, rows: Arrays) -> NDArray[np.float32]:
        """The columns `JOINED` of the vector for rows of `export.datasets.baskets`, float32 of shape (n, 6)."""
        product, now = rows["product"], rows["as_of_ms"] // 1000
        shares = [self._share(product, now, days) for days in _WINDOWS_DAYS]
        trends = [np.log((few + _SMALL) / (many + _SMALL)) for few, many in itertools.pairwise(shares)]
        return np.column_stack([*shares, *trends, self._again(product, now, rows["features"])]).astype(np.float32)

    def join(self, rows: Arrays) -> Arrays:
        """The rows with their joined features known; in place."""
        rows["features"][:, _JOINED] = self.columns(rows)
        return rows

    def _share(self, product: NDArray[np.int64], now: NDArray[np.int64], days: int) -> Any:
        since = np.maximum(now - days * _DAY_S, 0)
        orders = np.searchsorted(self._orders, now) - np.searchsorted(self._orders, since)
        key = product << _BITS
        held = np.searchsorted(self._bought, key + now) - np.searchsorted(self._bought, key + since)
        return 1000.0 * held / np.maximum(orders, 1)

    def _again(self, product: NDArray[np.int64], now: NDArray[np.int64], features: NDArray[np.float32]) -> Any:
        """The customer of the row is left out: what it did is no news."""
        times, today = features[:, _ORDERS], features[:, _SINCE] == 0
        key = product << _BITS
        before = times - today
        once = np.searchsorted(self._first, key + now) - np.searchsorted(self._first, key) - (before >= 1)
        twice = np.searchsorted(self._second, key + now) - np.searchsorted(self._second, key) - (before >= 2)
        return 100.0 * (twice + _PRIOR * _PRIOR_SHARE) / (once + _PRIOR)
