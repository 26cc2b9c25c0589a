"""Rows of (customer, product of the repertoire) with the days until the product was bought again.

As-of times are those of each order and one random time until the customer's next event, because scores are read
later as well. The label looks at placed orders strictly after the as-of time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.history import Level, Log, customer_levels, placed_lines
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from features.vectors.reorder import reorder_rows

Arrays = dict[str, NDArray[Any]]

#: A score older than this is not read.
MOST_AGE_DAYS = 60
#: Bits of a time in seconds within a search key.
_TIME_BITS = 32


class NextPurchase:
    """Answers when a customer next bought a product, by binary search over all order lines."""

    def __init__(self, log: Log) -> None:
        customers, products, times = placed_lines(log)
        self._customers = {key: i for i, key in enumerate(dict.fromkeys(customers))}
        self._products = np.unique(products)
        self._index = np.sort(self._key([self._customers[c] for c in customers], products) + times // 1000)

    def _key(self, customers: Any, products: NDArray[np.uint64]) -> NDArray[np.int64]:
        product = np.searchsorted(self._products, products)
        pair = np.asarray(customers, np.int64) * len(self._products) + product
        return pair << _TIME_BITS

    def days(self, customers: list[str], products: NDArray[np.uint64], as_of_ms: NDArray[np.int64]) -> Any:
        """Days from `as_of_ms` to the next purchase, infinite where there is none; float64 of shape (n,)."""
        pair = self._key([self._customers[c] for c in customers], products)
        second = as_of_ms // 1000
        at = np.searchsorted(self._index, pair + second, side="right")
        found = np.append(self._index, np.int64(2**62))[at]
        return np.where(found >> _TIME_BITS == pair >> _TIME_BITS, (found - pair - second) / 86_400, np.inf)


def build(log: Log, until_ms: int, seed: int) -> Arrays:
    """All rows with as-of times before `until_ms`.

    Returns:
        features float32 (n, 19); next_days float32 (n,); as_of_ms, state_ms (newest event in the state), group (one an
        as-of time of a customer), customer int64 (n,); aged bool (n,); product uint64 (n,).
    """
    rng = np.random.default_rng(seed)
    future = NextPurchase(log)
    parts: list[Arrays] = []
    groups = 0
    for level in customer_levels(log):
        for aged in (False, True):
            part = _rows(level, future, aged, until_ms, rng)
            part["group"] += groups
            groups += len(level.slots)
            parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(level: Level, future: NextPurchase, aged: bool, until_ms: int, rng: np.random.Generator) -> Arrays:
    room = np.clip(level.next_ms - level.as_of_ms, 0, MOST_AGE_DAYS * DAY_MS)
    # A whole second before the next event at the latest: times are minutes in some logs.
    later = np.maximum((rng.random(len(room)) * room).astype(np.int64) - 1000, 0)
    as_of = level.as_of_ms + (later if aged else 0)
    keep = (level.kind == OrderKind.PLACED) & (as_of < until_ms)
    slots, as_of = level.slots[keep], as_of[keep]
    # Asked of the state itself, not of the level: the leak tests compare it with the as-of time.
    state = level.table.event_time_ms(slots)
    rows = reorder_rows(level.table, slots, as_of)
    names = [str(level.table.keys[s]) for s in slots.tolist()]
    of = rows.customer
    days = future.days([names[i] for i in of.tolist()], rows.product, as_of[of])
    return {
        "features": rows.features,
        "next_days": days.astype(np.float32),
        "as_of_ms": as_of[of],
        "state_ms": state[of],
        "group": of.astype(np.int64),
        "customer": slots[of],
        "aged": np.full(len(of), aged),
        "product": rows.product,
    }
