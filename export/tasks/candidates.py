"""Candidates of next-best-offer's evaluation: all products, those popular at that time first.

Not "popular ones and what was bought": then whatever is not popular would be a positive, and a score that merely
favours the unpopular would look good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS

Arrays = dict[str, NDArray[Any]]

#: How many of the first columns count as popular, by orders of the last 60 days before the order's day.
POPULAR = 200
WINDOW_DAYS = 60
#: More orders than these are measured by lot.
MOST_ORDERS = 4_000
#: Orders times products that are held at once: each takes some 40 bytes, and a shop may have 100,000 products.
_CELLS = 1 << 24


@dataclass(frozen=True, slots=True)
class Candidates:
    """One row an order; columns are candidates, the popular ones first.

    Args:
        rows: rows of the data set, (n,).
        popular: how many of the first columns are the popular products, for calibration.
        product: (n, c), index of the product.
        label: (n, c), 1 where the order held it.
        popularity: (n, c), orders of anyone in the window.
        share: (n, c), that over all orders of the window.
        personal: (n, c), orders of this customer with it, ever before.
        recent: (n, c), how often it is among the purchases that the model sees.
    """

    rows: NDArray[np.int64]
    popular: int
    product: NDArray[np.int64]
    label: NDArray[np.float32]
    popularity: NDArray[np.float32]
    share: NDArray[np.float32]
    personal: NDArray[np.float32]
    recent: NDArray[np.float32]


def by_lot(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most `MOST_ORDERS` of some rows, ascending."""
    if len(rows) <= MOST_ORDERS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ORDERS, replace=False))


def in_parts(as_of_ms: NDArray[np.int64], products: int) -> Iterator[NDArray[np.intp]]:
    """Index of rows in parts of which all candidates fit into memory, by the day: each part asks of few days.

    >>> [len(part) for part in in_parts(np.arange(4_000), 10_000)]
    [1677, 1677, 646]
    """
    by_day = np.argsort(as_of_ms // DAY_MS, kind="stable")
    size = max(_CELLS // max(products, 1), 1)
    for at in range(0, len(by_day), size):
        yield np.sort(by_day[at : at + size])


def candidates_of(arrays: Arrays, rows: NDArray[np.int64], most: int | None = None) -> Candidates:
    """The candidates of some rows; popularity and frequency look strictly before the as-of time (its day).

    Args:
        arrays: as `export.datasets.next_best_offer.build` makes them.
        rows: of the data set, ascending.
        most: only so many candidates, the most popular; all products where None.
    """
    starts = np.searchsorted(arrays["target_row"], [rows, rows + 1])
    days = (arrays["as_of_ms"][rows] // DAY_MS).tolist()
    counted = {int(day): popularity(arrays, int(day)) for day in np.unique(days)}
    best = {day: np.argsort(-count, kind="stable")[:most] for day, (count, _) in counted.items()}
    product = np.stack([best[day] for day in days])
    label = np.zeros(product.shape, np.float32)
    for i, (a, b) in enumerate(starts.T.tolist()):
        label[i] = np.isin(product[i], arrays["target_product"][a:b])
    popular_count = np.stack([counted[day][0][product[i]] for i, day in enumerate(days)]).astype(np.float32)
    total = np.array([counted[day][1] for day in days], np.float32)
    personal = _personal(arrays, rows, product)
    seen = arrays["product"][rows]
    recent = sum((product == seen[:, at, None]).astype(np.float32) for at in range(seen.shape[1]))
    share = popular_count / total[:, None]
    popular = min(POPULAR, product.shape[1])
    return Candidates(rows, popular, product, label, popular_count, share, personal, np.asarray(recent))


def popularity(arrays: Arrays, day: int) -> tuple[NDArray[np.int64], int]:
    """Orders with each product in the window before a day, int64 (p,), and how many orders there were."""
    ms = arrays["line_ms"]
    rows = (ms < day * DAY_MS) & (ms >= (day - WINDOW_DAYS) * DAY_MS) & (arrays["line_product"] >= 0)
    pairs = np.unique(arrays["line_event"][rows] * len(arrays["product_price"]) + arrays["line_product"][rows])
    count = np.bincount(pairs % len(arrays["product_price"]), minlength=len(arrays["product_price"]))
    return count, max(len(np.unique(arrays["line_event"][rows])), 1)


def _personal(arrays: Arrays, rows: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.float32]:
    wanted = set(arrays["customer"][rows].tolist())
    history: dict[int, list[int]] = defaultdict(list)
    for line in np.flatnonzero(np.isin(arrays["line_customer"], list(wanted))).tolist():
        history[int(arrays["line_customer"][line])].append(line)
    out = np.zeros(product.shape, np.float32)
    products = len(arrays["product_price"])
    for i, row in enumerate(rows.tolist()):
        lines = np.array(history[int(arrays["customer"][row])], np.int64)
        lines = lines[(arrays["line_ms"][lines] < arrays["as_of_ms"][row]) & (arrays["line_product"][lines] >= 0)]
        pairs = np.unique(arrays["line_event"][lines] * products + arrays["line_product"][lines])
        out[i] = np.bincount(pairs % products, minlength=products)[product[i]]
    return out
