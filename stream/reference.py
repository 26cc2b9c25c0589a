"""Reference data: the catalog and the offers, held whole by every worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import kernel
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
        self._words = np.zeros((1, WORDS), np.int64)
        self._table, self._row = _table_of(np.empty(0, np.uint64))
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
        row = self._rows_of(products)
        return self._words[row]

    def names(self, products: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Word ids of the products that occur, each once, and which of them each product is.

        Returns:
            int64 of shape (p, 8), and int64 of the shape of `products`; unknown ones are a row of zeros.
        """
        row = self._rows_of(products)
        occurs = np.zeros(len(self._words), np.bool_)
        occurs[row] = True
        return self._words[occurs], (np.cumsum(occurs) - 1)[row]

    def _rows_of(self, products: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self._stale:
            self._index()
        row = np.empty(products.size, np.int64)
        _find(self._table, self._row, products.ravel(), row)
        return row.reshape(products.shape)

    def _index(self) -> None:
        """Rows are in the order of ids, so that a graph adds up the same numbers in the same order in every worker."""
        ids = np.array([self.ids.id(sku) for sku in self.products], np.uint64)
        order = np.argsort(ids)
        rows = [self._rows[sku] for sku in self.products]
        self._words = np.stack([np.zeros(WORDS, np.int64), *(rows[i] for i in order.tolist())])
        self._table, self._row = _table_of(ids[order])
        self._stale = False


@kernel
def _find(table: Any, row: Any, ids: Any, out: Any) -> None:
    """out[i]: the row of ids[i], 0 where it is not in the table. Half of the places at least are free (0)."""
    mask = np.uint64(table.shape[0] - 1)
    one = np.uint64(1)
    for i in range(ids.shape[0]):
        at = ids[i] & mask
        while table[at] != 0 and table[at] != ids[i]:
            at = (at + one) & mask
        out[i] = row[at] if ids[i] != 0 else 0


def _table_of(ids: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Ids (which are hashes) where they are looked for first, or behind; and the row of each, counted from 1."""
    size = 1 << (2 * len(ids) + 1).bit_length()
    table, row = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    for number, product in enumerate(ids.tolist(), 1):
        at = product & (size - 1)
        while table[at]:
            at = (at + 1) & (size - 1)
        table[at], row[at] = product, number
    return table, row
