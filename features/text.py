"""Product text as hashed word ids, so that a product that no model has seen still means something to it."""

from __future__ import annotations

import re

import numpy as np
import xxhash
from numpy.typing import NDArray

#: Hash buckets of words; id 0 is padding.
VOCABULARY = 8192
#: Words kept of a product name.
WORDS = 8

_WORD = re.compile(r"[a-z0-9]+")


def word_ids(name: str) -> NDArray[np.int64]:
    """The first words of a product's name as hashed ids, int64 of shape (8,), 0 where there is none.

    Source: K. Weinberger et al., "Feature hashing for large scale multitask learning" (ICML 2009).

    >>> word_ids("White hanging HEART").tolist() == word_ids("white, hanging heart!").tolist()
    True
    >>> int((word_ids("red bowl") > 0).sum())
    2
    """
    out = np.zeros(WORDS, np.int64)
    for i, word in enumerate(_WORD.findall(name.lower())[:WORDS]):
        out[i] = 1 + xxhash.xxh3_64_intdigest(word.encode()) % (VOCABULARY - 1)
    return out
