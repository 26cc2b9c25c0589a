"""The products of an event log's catalog, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.history import Log
from features.ids import hash64
from features.text import WORDS, word_ids


class Products:
    """The catalog as arrays, found by product id."""

    def __init__(self, log: Log) -> None:
        skus = log.catalog["sku"].to_list()
        self.ids = np.array([hash64(sku) for sku in skus], dtype=np.uint64)
        self._order = np.argsort(self.ids)
        self._ids = self.ids[self._order]
        self.words = np.stack([word_ids(name) for name in log.catalog["name"].to_list()]).reshape(-1, WORDS)
        self.price = log.catalog["unit_price"].to_numpy().astype(np.float32)

    def index(self, ids: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Row of each product id in the catalog, -1 where it has none; int32 of the shape of `ids`."""
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, self._order[at], -1).astype(np.int32)
