"""Rows of (customer, product of the repertoire) with the days until the product was bought again.

Three moments: right after an order; at one random time until the customer's next event, because scores are read later
as well; and just before the next order, with what it held, from which ranking is learnt. The label looks at placed
orders strictly after the as-of time, or at the next order itself.

The rows are those of the live tables, and those of tables that hold all that a customer ever bought, thinned. Joined
features are known in the wide ones and in half of the live ones, so that a model copes with either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import baskets_of, wide_views
from export.datasets.popularity import Popularity
from export.history import Level, Log, customer_levels, placed_lines
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from features.vectors.reorder import FEATURES, JOINED, reorder_rows

Arrays = dict[str, NDArray[Any]]

#: A score older than this is not read.
MOST_AGE_DAYS = 60
#: Products that are kept of a wide table after an order, and before one: there, more of a list teach more.
WIDE_PRODUCTS = (100, 400)
AFTER, AGED, BEFORE = range(3)
#: Bits of a time in seconds within a search key.
_TIME_BITS = 32
_JOINED = [list(FEATURES).index(name) for name in JOINED]


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
        features float32 (n, 30); next_days float32 (n,); bought bool (n,), the order at the as-of time holds the
        product, of moment `BEFORE` alone; as_of_ms, state_ms (newest event in the state), group (one an as-of time of a
        customer), customer int64 (n,); moment int8 (n,); wide bool (n,); product uint64 (n,).
    """
    rng = np.random.default_rng(seed)
    future, baskets = NextPurchase(log), baskets_of(log)
    parts: list[Arrays] = []
    groups = 0
    for wide, moments in ((False, (AFTER, AGED, BEFORE)), (True, (AFTER, BEFORE))):
        for level in customer_levels(log, wide_views(baskets) if wide else None):
            for moment in moments:
                part = _rows(level, future, moment, until_ms, rng)
                part["group"] += groups
                groups += len(level.slots)
                parts.append(_thinned(part) if wide else part)
                parts[-1]["wide"] = np.full(len(parts[-1]["group"]), wide)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    known = arrays["wide"] | (arrays["as_of_ms"] // 60_000 % 2 == 0)
    at = {name: arrays[name][known] for name in ("features", "as_of_ms")}
    at["product"] = np.searchsorted(baskets.products, arrays["product"][known])
    arrays["features"][np.ix_(known, _JOINED)] = Popularity(log, baskets.products).columns(at)
    return arrays


def _rows(level: Level, future: NextPurchase, moment: int, until_ms: int, rng: np.random.Generator) -> Arrays:
    as_of, keep = _moment(level, moment, rng)
    keep = keep & (as_of < until_ms)
    slots, as_of = level.slots[keep], as_of[keep]
    # Asked of the state itself, not of the level: the leak tests compare it with the as-of time.
    state = level.table.event_time_ms(slots)
    rows = reorder_rows(level.table, slots, as_of)
    names = [str(level.table.keys[s]) for s in slots.tolist()]
    of = rows.customer
    owner = [names[i] for i in of.tolist()]
    days = future.days(owner, rows.product, as_of[of])
    bought = np.zeros(len(of), np.bool_)
    if moment == BEFORE:
        bought = future.days(owner, rows.product, as_of[of] - 1000) * 86_400 < 1.5
    return {
        "features": rows.features,
        "next_days": days.astype(np.float32),
        "bought": bought,
        "as_of_ms": as_of[of],
        "state_ms": state[of],
        "group": of.astype(np.int64),
        "customer": slots[of],
        "moment": np.full(len(of), moment, np.int8),
        "product": rows.product,
    }


def _moment(level: Level, moment: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The as-of times, and which of them there are."""
    placed = level.kind == OrderKind.PLACED
    if moment == AFTER:
        return level.as_of_ms, placed
    if moment == BEFORE:
        # A next order in the same second is a part of this one.
        return level.next_ms, level.next_placed & (level.next_ms // 1000 > level.as_of_ms // 1000)
    room = np.clip(level.next_ms - level.as_of_ms, 0, MOST_AGE_DAYS * DAY_MS)
    # A whole second before the next event at the latest: times are minutes in some logs.
    return level.as_of_ms + np.maximum((rng.random(len(room)) * room).astype(np.int64) - 1000, 0), placed


def _thinned(part: Arrays) -> Arrays:
    """Some products of each group: those bought, then as by lot, but the same ones whatever else is in the log."""
    most = WIDE_PRODUCTS[int(part["moment"].max(initial=AFTER) == BEFORE)]
    mixed = part["product"] ^ (part["as_of_ms"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    lot = (mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(16)
    order = np.lexsort((lot, ~part["bought"], part["group"]))
    group = part["group"][order]
    kept = np.sort(order[np.arange(len(group)) - np.searchsorted(group, group) < most])
    return {name: column[kept] for name, column in part.items()}
