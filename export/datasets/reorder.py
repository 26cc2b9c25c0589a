"""Rows of (customer, product of the repertoire) with the days until the product was bought again.

Three moments: right after an order; at one random time until the customer's next event, because scores are read later
as well; and just before the next order, with what it held, from which ranking is learnt. The label looks at placed
orders strictly after the as-of time, or at the next order itself.

The rows are those of the live tables, and those of tables that hold all that a customer ever bought, thinned. Joined
features are unknown in a few of the live ones, so that a model copes with a store that is away. Of a log with more rows
than a training takes, a part of the orders is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import Arrays, Baskets, baskets_of, numbered, taken, wide_views, words_of
from export.datasets.popularity import Popularity
from export.datasets.upcoming import Upcoming
from export.history import Level, Log, customer_levels
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from features.vectors.reorder import join, reorder_rows

#: A score older than this is not read.
MOST_AGE_DAYS = 60
#: Products that are kept of a wide table after an order, and before one: there, more of a list teach more.
WIDE_PRODUCTS = (100, 400)
AFTER, AGED, BEFORE = range(3)
#: About so many rows are made of a log.
_MOST_ROWS = 4_500_000
#: Of so many live rows, one knows no joined features.
_UNKNOWN = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Labels:
    """What comes after a moment: the next purchase of a product, and the customer's next order."""

    def __init__(self, baskets: Baskets) -> None:
        self.baskets = baskets
        self._codes = {name: i for i, name in enumerate(baskets.customers)}
        owner, second = baskets.customer, baskets.time_ms // 1000
        line = baskets.line_basket
        self._orders = Upcoming(owner, second)
        self._purchases = Upcoming(owner[line] * len(baskets.products) + baskets.line_product, second[line])

    def customers(self, names: list[str]) -> NDArray[np.int64]:
        """Numbers of customers, as the baskets have them."""
        return np.array([self._codes[name] for name in names], np.int64)

    def order_days(self, customer: NDArray[np.int64], as_of_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Days until the next order, infinite for none; (n,)."""
        return self._orders.days(customer, as_of_ms // 1000)

    def next_days(self, customer: Any, product: Any, as_of_ms: Any) -> NDArray[np.float64]:
        """Days until the next order with a product, infinite for none; (n,)."""
        return self._purchases.days(customer * len(self.baskets.products) + product, as_of_ms // 1000)


def build(log: Log, until_ms: int, seed: int) -> Arrays:
    """All rows with as-of times before `until_ms`.

    Returns:
        features float32 (n, 33); next_days float32 (n,); order_days float32 (n,), until the customer's next order;
        bought bool (n,), the order at the as-of time holds the product, of moment `BEFORE` alone; as_of_ms, state_ms
        (newest event in the state), group (one an as-of time of a customer), customer, product int64 (n,); moment
        int8 (n,); wide bool (n,); and what `baskets.SHARED` names, `recent` and `recent_age_days` of each group.
    """
    rng = np.random.default_rng(seed)
    baskets = baskets_of(log)
    labels, popularity = Labels(baskets), Popularity(Popularity.of_log(log, baskets.products))
    share = min(1.0, _MOST_ROWS / max(_rows_of(baskets), 1))
    parts: list[Arrays] = []
    groups = 0
    for wide, moments in ((False, (AFTER, AGED, BEFORE)), (True, (AFTER, BEFORE))):
        for level in customer_levels(log, wide_views(baskets) if wide else None):
            for moment in moments:
                part = _rows(level, labels, moment, until_ms, share, rng)
                parts.append(_thinned(popularity.join(part)) if wide else _joined(popularity, part))
                parts[-1]["group"] += groups
                groups += len(part["recent"])
                parts[-1]["wide"] = np.full(len(parts[-1]["group"]), wide)
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    del arrays["lot"]
    return arrays | {"products": baskets.products, "words": words_of(log, baskets.products)}


def _joined(popularity: Popularity, part: Arrays) -> Arrays:
    """Live rows, most of which know their joined features."""
    known = popularity.columns(part)
    known[part["as_of_ms"] // 60_000 % _UNKNOWN == 0] = np.nan
    join(part["group"], part["features"], known)
    return part


def _rows_of(baskets: Baskets) -> int:
    """How many rows there are of all orders, roughly: as if each product were new when it is first bought."""
    owner = baskets.customer[baskets.line_basket]
    first = np.unique(owner * len(baskets.products) + baskets.line_product, return_index=True)[1]
    new = np.bincount(baskets.line_basket[first], minlength=len(baskets.customer))
    order = np.argsort(baskets.customer, kind="stable")
    total = np.cumsum(new[order])
    start = np.searchsorted(baskets.customer[order], baskets.customer[order])
    past = total - total[start] + new[order][start]
    return int((3 * np.minimum(past, 32) + sum(np.minimum(past, most) for most in WIDE_PRODUCTS)).sum())


def _rows(level: Level, labels: Labels, moment: int, until_ms: int, share: float, rng: np.random.Generator) -> Arrays:
    as_of, keep = _moment(level, moment, rng)
    drawn = (level.event.astype(np.uint64) * _GOLDEN >> np.uint64(11)) < np.uint64(share * 2**53)
    keep = keep & (as_of < until_ms) & drawn
    slots, as_of = level.slots[keep], as_of[keep]
    # Asked of the state itself, not of the level: the leak tests compare it with the as-of time.
    state = level.table.event_time_ms(slots)
    rows = reorder_rows(level.table, slots, as_of)
    customer = labels.customers([str(level.table.keys[s]) for s in slots.tolist()])
    of, products = rows.customer, labels.baskets.products
    product = np.searchsorted(products, rows.product)
    bought = np.zeros(len(of), np.bool_)
    if moment == BEFORE:
        bought = labels.next_days(customer[of], product, as_of[of] - 1000) * 86_400 < 1.5
    return {
        "features": rows.features,
        "next_days": labels.next_days(customer[of], product, as_of[of]).astype(np.float32),
        "order_days": labels.order_days(customer, as_of)[of].astype(np.float32),
        "bought": bought,
        "as_of_ms": as_of[of],
        "state_ms": state[of],
        "group": of.astype(np.int64),
        "customer": customer[of],
        "moment": np.full(len(of), moment, np.int8),
        "product": product,
        "lot": rows.product ^ (as_of[of].astype(np.uint64) * _GOLDEN),
        "recent": numbered(rows.recent, products),
        "recent_age_days": rows.age_days,
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
    lot = (part["lot"] * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(16)
    order = np.lexsort((lot, ~part["bought"], part["group"]))
    group = part["group"][order]
    kept = np.sort(order[np.arange(len(group)) - np.searchsorted(group, group) < most])
    return taken(part, kept)
