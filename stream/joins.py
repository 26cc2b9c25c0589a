"""Joins: what the shop says of the products that are scored for a customer, from the views of products.

Each worker folds what its own partitions order of a product; here all of it is read from the store. Where the store
does not answer, columns are unknown, and the score goes on without them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Times
from features.discovery import discover
from features.ids import IdCache
from features.joined import JoinedView
from features.rows import ALL
from features.store import Store, StoreUnavailable
from features.vectors import joined
from stream.metrics import Metrics
from stream.settings import FeatureSettings

log = logging.getLogger(__name__)

#: What a logged vector tells of the views of products that it joined: their version as in `ProductColumns`, the least
#: of its rows, `UNJOINED` where one has none.
JOINED_VERSION, UNJOINED = "joined_version", -1.0


@dataclass(frozen=True, slots=True)
class Joined:
    """What was joined to some rows.

    Args:
        columns: float32 of shape (n, 6), as `features.vectors.joined.FEATURES`; NaN is unknown.
        version: of the views that were read, float64 of shape (n,), as in `ProductColumns`.
        event_time_ms: how far all products had come, where that is least; 0 is none.
    """

    columns: NDArray[np.float32]
    version: NDArray[np.float64]
    event_time_ms: int = 0


def unknown(rows: int) -> Joined:
    """Nothing is known of so many rows."""
    return Joined(np.full((rows, len(joined.FEATURES)), np.nan, np.float32), np.full(rows, np.nan))


class Joins:
    """Reads the views of products for scores.

    Args:
        store: where they are.
        ids: knows the names behind product ids.
        settings: how long and how many are kept.
        metrics: counts reads that the store did not answer.
    """

    def __init__(self, store: Store, ids: IdCache, settings: FeatureSettings, metrics: Metrics) -> None:
        view = discover().get(joined.VIEW)
        on = view is not None and settings.joined_for_s > 0
        self._products = (
            JoinedView(store, view, ALL, settings.joined_for_s, settings.joined_max_entities) if view and on else None
        )
        self._ids, self._metrics = ids, metrics

    def forget(self) -> None:
        """Drops what is kept."""
        if self._products is not None:
            self._products.forget()

    def products(self, product: NDArray[np.uint64], as_of_ms: Times) -> Joined:
        """What the shop says of products as of the end of the day before.

        Args:
            product: ids, uint64 of shape (n,).
            as_of_ms: int64 of shape (n,).
        """
        out = unknown(len(product))
        if self._products is None or not len(product):
            return out
        day = as_of_ms // DAY_MS
        try:
            parts = [(at, self._of_day(product[at], int(of))) for of in np.unique(day) for at in [day == of]]
        except StoreUnavailable as error:
            self._metrics.unjoined.inc(len(product))
            log.warning("scored without what the shop says of products: %s", error)
            return out
        for at, part in parts:
            out.columns[at], out.version[at] = part.columns, part.version
        return Joined(out.columns, out.version, min(part.event_time_ms for _, part in parts))

    def _of_day(self, product: NDArray[np.uint64], day: int) -> Joined:
        assert self._products is not None, "products asked whether there is one"
        distinct, inverse = np.unique(product, return_inverse=True)
        names = [self._ids.name(i) for i in distinct.tolist()]
        read = self._products.records([name or "" for name in names], day)
        found = joined.product_columns(read.records, read.whole, np.full(len(distinct), day * DAY_MS, np.int64))
        found.columns[[name is None for name in names]] = np.nan
        newest = int(read.whole["event_time_ms"].min())
        return Joined(found.columns[inverse], found.version[inverse], newest)
