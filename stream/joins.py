"""Joins: what the shop says of the products that are scored for a customer, a region of an item's product, and where
a product is left.

Each worker folds what its own partitions order of a product; here all of it is read from the store. Where the store
does not answer, columns are unknown, and the score goes on without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, HOUR_MS, Times
from features.discovery import discover
from features.ids import IdCache
from features.joined import JoinedView
from features.rows import ALL
from features.store import Store, StoreUnavailable
from features.vectors import joined, regional
from features.vectors.regional import RegionColumns
from stream.metrics import Metrics
from stream.settings import FeatureSettings

log = logging.getLogger(__name__)

#: What a logged vector tells of the views of products that it joined: their version as in `ProductColumns`, the least
#: of its rows, `UNJOINED` where one has none.
JOINED_VERSION, UNJOINED = "joined_version", -1.0
#: The same of the view of regions: as in `RegionColumns`, `UNJOINED` where there is none.
REGION_VERSION = "region_version"


#: Days and sets of offers that are kept: a replay goes through a year of days in less time than one is kept for.
_MOST_OFFERED = 4

#: The view that tells where a product is left.
_STOCK = "product_stock"


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
    """Reads the views of products, and of products in regions, for scores.

    Args:
        store: where they are.
        ids: knows the names behind product ids.
        settings: how long and how many are kept.
        metrics: counts reads that the store did not answer.
        now_s: a clock that does not go back.
    """

    def __init__(
        self,
        store: Store,
        ids: IdCache,
        settings: FeatureSettings,
        metrics: Metrics,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._products = self._reader(joined.VIEW, settings, store)
        self._regions = self._reader(regional.VIEW, settings, store)
        self._stock = self._reader(_STOCK, settings, store)
        self._ids, self._metrics = ids, metrics
        self._keep_s, self._now_s = settings.joined_for_s, now_s
        self._offered: dict[tuple[int, bytes], tuple[float, Joined]] = {}

    @staticmethod
    def _reader(name: str, settings: FeatureSettings, store: Store) -> JoinedView | None:
        view = discover().get(name)
        if view is None or settings.joined_for_s == 0:
            return None
        return JoinedView(store, view, ALL, settings.joined_for_s, settings.joined_max_entities)

    def forget(self) -> None:
        """Drops what is kept."""
        for reader in (self._products, self._regions, self._stock):
            if reader is not None:
                reader.forget()
        self._offered.clear()

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

    def offered(self, product: NDArray[np.uint64], day: int) -> Joined:
        """What `products` says of the products of offers on a day; nothing before the shop's first day was over.

        Offers are the same for many micro-batches: making 200 products' columns anew takes 1.3 ms, looking here 1 µs.
        It is kept for `features.joined_for_s`, as are the records that it is made from.

        Args:
            product: ids, uint64 of shape (n,).
            day: of event time, since 1970 (UTC).
        """
        at, now_s = (day, product.tobytes()), self._now_s()
        if at in self._offered and now_s - self._offered[at][0] < self._keep_s:
            return self._offered[at][1]
        found = self.products(product, np.full(len(product), day * DAY_MS, np.int64))
        # Nobody bought anything yet: that a product did not sell says nothing then.
        found.columns[found.version == 0] = np.nan
        if found.event_time_ms:
            self._offered.pop(at, None)
            while len(self._offered) >= _MOST_OFFERED:
                del self._offered[next(iter(self._offered))]
            self._offered[at] = now_s, found
        return found

    def regions(self, items: Sequence[str], as_of_ms: Times) -> RegionColumns:
        """What the region of each item says of its product as of the end of the hour before.

        Args:
            items: n of them, location:sku.
            as_of_ms: int64 of shape (n,).
        """
        out = regional.unknown(len(items))
        keys = [regional.region_key(item) for item in items]
        at = np.flatnonzero([key is not None for key in keys])
        if self._regions is None or not len(at):
            return out
        hour = as_of_ms // HOUR_MS
        try:
            # Some at a time by the hour: a record that was read in an earlier one may not have all of it.
            parts = [at[hour[at] == of] for of in np.unique(hour[at])]
            read = [self._regions.records([keys[i] or "" for i in part.tolist()], int(hour[part[0]])) for part in parts]
        except StoreUnavailable as error:
            self._metrics.unjoined.inc(len(at))
            log.warning("scored without what regions say of products: %s", error)
            return out
        for part, found in zip(parts, read, strict=True):
            told = regional.region_columns(found.records, as_of_ms[part])
            out.columns[part], out.version[part] = told.columns, told.version
            out.event_time_ms[part] = told.event_time_ms
        return out

    def out_of_stock(self, skus: Sequence[str], as_of_ms: Times) -> NDArray[np.bool_]:
        """Which products are left nowhere: wherever they are kept, the newest news is that there is none.

        It is asked of now, not of a moment: what ran out after `as_of_ms` counts as well, and what ran out less than
        `features.joined_for_s` ago may not count yet. A product of which nothing is known is there.

        Args:
            skus: n of them.
            as_of_ms: int64, of any number of moments.
        """
        out = np.zeros(len(skus), np.bool_)
        if self._stock is None or not len(skus):
            return out
        try:
            read = self._stock.records(skus, int(as_of_ms.max()) // DAY_MS)
        except StoreUnavailable as error:
            self._metrics.unjoined.inc(len(skus))
            log.warning("offered without what is out of stock: %s", error)
            return out
        slots = np.arange(len(skus))
        found = discover()[_STOCK].read(read.records, slots, np.full(len(skus), as_of_ms.max()))
        return np.asarray((found["places"] > 0) & (found["places_out"] == found["places"]))

    def _of_day(self, product: NDArray[np.uint64], day: int) -> Joined:
        assert self._products is not None, "products asked whether there is one"
        distinct, inverse = np.unique(product, return_inverse=True)
        names = [self._ids.name(i) for i in distinct.tolist()]
        read = self._products.records([name or "" for name in names], day)
        found = joined.product_columns(read.records, read.whole, np.full(len(distinct), day * DAY_MS, np.int64))
        nameless = [name is None for name in names]
        found.columns[nameless], found.version[nameless] = np.nan, np.nan
        newest = int(read.whole["event_time_ms"].min())
        return Joined(found.columns[inverse], found.version[inverse], newest)
