"""Reference data: the catalog and the offers, held whole by every worker."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.ids import IdCache
from features.text import WORDS, word_ids
from stream.decode import RecordLike
from stream.events import Offer, Product

#: Days of lead time for a product that the catalog does not know.
DEFAULT_LEAD_TIME_DAYS = 7.0


class Reference:
    """Products by sku and offers by id, with the columns that models read.

    Example:
        >>> reference = Reference(IdCache())
        >>> reference.put_product(Product(sku="A", name="Red bowl", unit_price=1.0))
        >>> reference.name("A"), reference.name("B")
        ('Red bowl', None)
    """

    def __init__(self, ids: IdCache) -> None:
        self.products: dict[str, Product] = {}
        self.offers: dict[str, Offer] = {}
        self.ids = ids
        self._product = msgspec.json.Decoder(Product)
        self._offer = msgspec.json.Decoder(Offer)
        self._stale = True
        self._sorted_ids = np.empty(0, np.uint64)
        self._words = np.zeros((1, WORDS), np.int64)
        self._rows: dict[str, NDArray[np.int64]] = {}

    def apply(self, record: RecordLike) -> None:
        """Takes in a record of `catalog` or `offers`; a null value deletes its key.

        Raises:
            ValueError, RecursionError: it is not what the topic's schema says; `stream.decode.reason_of` tells why.
        """
        key, value = (record.key() or b"").decode(), record.value()
        if record.topic() == "catalog":
            if value is None:
                self._drop_product(key)
            else:
                self.put_product(self._product.decode(value))
        elif value is None:
            self.offers.pop(key, None)
        else:
            offer = self._offer.decode(value)
            self.ids.id(offer.sku)
            self.offers[offer.offer_id] = offer

    def put_product(self, product: Product) -> None:
        """Adds or replaces a product."""
        self.ids.id(product.sku)
        self.products[product.sku] = product
        self._rows[product.sku] = word_ids(product.name)
        self._stale = True

    def _drop_product(self, sku: str) -> None:
        if self.products.pop(sku, None) is not None:
            del self._rows[sku]
            self._stale = True

    def name(self, sku: str) -> str | None:
        """The product's name, or None where the catalog does not know it."""
        product = self.products.get(sku)
        return None if product is None else product.name

    def lead_times(self, skus: Sequence[str]) -> NDArray[np.float64]:
        """Lead times in days, float64 of shape (n,)."""
        known = self.products
        return np.array([known[s].lead_time_days if s in known else DEFAULT_LEAD_TIME_DAYS for s in skus])

    def words(self, products: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Word ids of products by their ids, int64 of shape (*products.shape, 8); zeros for unknown ones."""
        if self._stale:
            self._index()
        at = np.searchsorted(self._sorted_ids, products)
        at = np.minimum(at, len(self._sorted_ids) - 1)
        known = (self._sorted_ids[at] == products) if len(self._sorted_ids) else np.zeros(products.shape, bool)
        return np.asarray(np.where(known[..., None], self._words[at], 0))

    def _index(self) -> None:
        ids = np.array([self.ids.id(sku) for sku in self.products], np.uint64)
        order = np.argsort(ids)
        rows = [self._rows[sku] for sku in self.products]
        self._sorted_ids = ids[order]
        self._words = np.stack(rows)[order] if rows else np.zeros((1, WORDS), np.int64)
        self._stale = False
