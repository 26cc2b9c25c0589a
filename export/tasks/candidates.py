"""Candidates of next-best-offer's evaluation: products popular at that time, and what was bought."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS

Arrays = dict[str, NDArray[Any]]

#: Popular products that are candidates for every order, by orders of the last 60 days before its day.
POPULAR = 200
WINDOW_DAYS = 60


@dataclass(frozen=True, slots=True)
class Candidates:
    """One row an order; columns are candidates, the popular ones first.

    Args:
        rows: rows of the data set, (n,).
        popular: how many of the columns are popular products: they do not depend on what was bought.
        product: (n, c), index of the product.
        open: (n, c), False where a column is empty.
        label: (n, c), 1 where the order held it.
        popularity: (n, c), orders of anyone in the window.
        share: (n, c), that over all orders of the window.
        personal: (n, c), orders of this customer with it, ever before.
    """

    rows: NDArray[np.int64]
    popular: int
    product: NDArray[np.int64]
    open: NDArray[np.bool_]
    label: NDArray[np.float32]
    popularity: NDArray[np.float64]
    share: NDArray[np.float64]
    personal: NDArray[np.float64]

    def flat(self, score: NDArray[Any]) -> tuple[Any, Any, Any]:
        """Group, label and score of the open columns, for `metrics.ranking`."""
        group = np.repeat(np.arange(len(self.rows)), self.open.sum(axis=1))
        return group, self.label[self.open], score[self.open]


def candidates_of(arrays: Arrays, rows: NDArray[np.int64]) -> Candidates:
    """The candidates of some rows; popularity and frequency look strictly before the as-of time (its day)."""
    starts = np.searchsorted(arrays["target_row"], [rows, rows + 1])
    bought = [arrays["target_product"][a:b].astype(np.int64) for a, b in starts.T]
    days = arrays["as_of_ms"][rows] // DAY_MS
    counted = {int(day): _popularity(arrays, int(day)) for day in np.unique(days)}
    popular = min(POPULAR, len(arrays["product_price"]))
    best = {day: np.argsort(-count, kind="stable")[:popular] for day, (count, _) in counted.items()}
    extra = [np.setdiff1d(b, best[int(day)]) for b, day in zip(bought, days, strict=True)]
    width = popular + max((len(e) for e in extra), default=0)
    product, shown = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), bool)
    label = np.zeros((len(rows), width), np.float32)
    for i, (more, held, day) in enumerate(zip(extra, bought, days.tolist(), strict=True)):
        n = popular + len(more)
        product[i, :n] = np.concatenate([best[day], more])
        shown[i, :n] = True
        label[i, :n] = np.isin(product[i, :n], held)
    popularity = np.stack([counted[day][0][product[i]] for i, day in enumerate(days.tolist())]).astype(np.float64)
    total = np.array([counted[day][1] for day in days.tolist()], np.float64)
    personal = _personal(arrays, rows, product)
    return Candidates(rows, popular, product, shown, label, popularity, popularity / total[:, None], personal)


def _popularity(arrays: Arrays, day: int) -> tuple[NDArray[np.int64], int]:
    """Lines of each product in the window before a day, and how many orders there were."""
    ms = arrays["line_ms"]
    rows = (ms < day * DAY_MS) & (ms >= (day - WINDOW_DAYS) * DAY_MS) & (arrays["line_product"] >= 0)
    pairs = np.unique(arrays["line_event"][rows] * len(arrays["product_price"]) + arrays["line_product"][rows])
    count = np.bincount(pairs % len(arrays["product_price"]), minlength=len(arrays["product_price"]))
    return count, max(len(np.unique(arrays["line_event"][rows])), 1)


def _personal(arrays: Arrays, rows: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.float64]:
    wanted = set(arrays["customer"][rows].tolist())
    history: dict[int, list[int]] = defaultdict(list)
    for line in np.flatnonzero(np.isin(arrays["line_customer"], list(wanted))).tolist():
        history[int(arrays["line_customer"][line])].append(line)
    out = np.zeros(product.shape)
    products = len(arrays["product_price"])
    for i, row in enumerate(rows.tolist()):
        lines = np.array(history[int(arrays["customer"][row])], np.int64)
        lines = lines[(arrays["line_ms"][lines] < arrays["as_of_ms"][row]) & (arrays["line_product"][lines] >= 0)]
        pairs = np.unique(arrays["line_event"][lines] * products + arrays["line_product"][lines])
        out[i] = np.bincount(pairs % products, minlength=products)[product[i]]
    return out
