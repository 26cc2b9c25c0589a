"""Stable 64-bit ids for products and other strings that packed records cannot hold whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray


def hash64(text: str) -> int:
    """The id of a string: XXH3-64 of its UTF-8 bytes, never 0 (0 marks an empty slot in packed records).

    Two of one million strings share an id with probability 2.7e-8 (birthday bound).

    Source: https://xxhash.com (XXH3).

    >>> hash64("85123A") == hash64("85123A")
    True
    >>> hash64("") != 0
    True
    """
    return int(xxhash.xxh3_64_intdigest(text.encode())) or 1


def hashes_or_0(texts: Sequence[str | None]) -> NDArray[np.uint64]:
    """The ids of many strings whose names need not be remembered, 0 for None, uint64 of shape (n,).

    Most come several times: each is hashed once.

    >>> hashes_or_0(["s1", None, "s1"]).tolist() == [hash64("s1"), 0, hash64("s1")]
    True
    """
    ids = {text: 0 if text is None else hash64(text) for text in set(texts)}
    return np.fromiter(map(ids.__getitem__, texts), np.uint64, len(texts))


class IdCache:
    """Hashes strings to ids and remembers the names, so that a micro-batch pays one dict look-up a string.

    Past `limit` strings the look-up is dropped and filled anew; ids never change, so nothing is lost.

    >>> cache = IdCache()
    >>> cache.id("A") == hash64("A"), cache.name(hash64("A"))
    (True, 'A')
    """

    def __init__(self, limit: int = 2_000_000) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._fresh: dict[int, str] = {}
        self._limit = limit

    def id(self, text: str) -> int:
        """The id of `text`; remembers its name."""
        known = self._ids.get(text)
        if known is None:
            if len(self._ids) >= self._limit:
                self._ids.clear()
            known = self._ids[text] = hash64(text)
            if known not in self._names:
                self._names[known] = self._fresh[known] = text
        return known

    def ids(self, texts: Iterable[str]) -> NDArray[np.uint64]:
        """The ids of many strings, as uint64 of shape (n,)."""
        wanted = list(texts)
        known = list(map(self._ids.get, wanted))
        if None in known:
            known = [self.id(text) for text in wanted]
        return np.array(known, np.uint64)

    def learn(self, names: Mapping[int, str]) -> None:
        """Takes in names that the store already keeps."""
        self._names |= names

    def pending(self) -> dict[int, str]:
        """Names seen for the first time, which the store should keep; `saved` says that it does."""
        return self._fresh

    def saved(self) -> None:
        """The pending names are in the store."""
        self._fresh = {}

    def save_again(self) -> None:
        """The store may have lost its names: all that are known here are pending."""
        self._fresh = dict(self._names)

    def unknown(self, product_ids: NDArray[np.uint64]) -> list[int]:
        """Those ids, without 0, that have no name here."""
        return [i for i in np.unique(product_ids).tolist() if i and i not in self._names]

    def name(self, product_id: int) -> str | None:
        """The name behind an id, or None where it has not been seen."""
        return self._names.get(int(product_id))
