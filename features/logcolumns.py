"""Columns of an event log as NumPy arrays: numbers within what the live worker takes in, texts as ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from features.logfile import Chunk, EventLogError


def ids_of(texts: Any) -> NDArray[np.uint64]:
    """Ids of Arrow texts, uint64 of shape (n,); each distinct one is hashed once, null is 0.

    >>> import pyarrow as pa
    >>> from features.ids import hash64
    >>> ids_of(pa.array(["a", None, "a"])).tolist() == [hash64("a"), 0, hash64("a")]
    True
    """
    ids, number = coded_ids(texts)
    return ids[number]


def coded_ids(texts: Any) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The ids of the distinct ones of n Arrow texts, with 0 for null behind them; and which of them each text has."""
    coded = pc.dictionary_encode(texts)
    digest = xxhash.xxh3_64_intdigest  # as `hash64`, without a call for each
    known = [digest(text.encode()) or 1 for text in coded.dictionary.to_pylist()]
    return np.array([*known, 0], np.uint64), numbers(coded.indices, len(known), np.int64)


def numbers(values: Any, null: float, dtype: Any) -> NDArray[Any]:
    """A NumPy copy of Arrow numbers: Arrow's own memory is read-only, which kernels would be compiled for anew."""
    filled = pc.fill_null(values, null) if values.null_count else values
    return np.array(filled.to_numpy(zero_copy_only=False), dtype)


def within(
    chunk: Chunk,
    name: str,
    values: NDArray[Any],
    low: float,
    high: float,
    event: NDArray[np.int64] | None = None,
    what: str = "",
) -> NDArray[Any]:
    """The values, if all are in the range that the live worker takes in; NaN is in none."""
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        at = int(np.argmax(wrong))
        record = chunk.first + (at if event is None else int(event[at])) + 1
        raise EventLogError(
            f"{chunk.path}: record {record}: column {name!r} holds {values[at]} {what}".rstrip()
            + f", which is not from {low:g} to {high:g}; the live worker would make it a dead letter"
        )
    return values
