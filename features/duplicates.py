"""Duplicates: events that an upstream producer delivers again, known by their event id, change nothing.

What was taken in lately is remembered beside the fence of each partition, and moves with it: the answer depends on the
log alone, never on where a batch was cut or a worker was started. Two events of one id are on one partition, since
they have one key. The horizon is a number of events: an id that comes again within the next `horizon` events of its
partition is a duplicate. It costs 32 bytes an event of the horizon in the store, and about 100 in memory: 256 KiB and
0.8 MB for 8,192 events, a partition and bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from features.aggregations.base import kernel
from features.store.base import Patch

_ENTRY = np.dtype([("id", "<u8"), ("offset", "<i8")])


def event_ids(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit ids of event ids (XXH3), never 0, uint64 of shape (n,).

    >>> event_ids(["e1"]) == event_ids(["e1"])
    array([ True])
    """
    hashed = xxhash.xxh3_64_intdigest
    return np.array([hashed(text.encode()) or 1 for text in texts], np.uint64)


@kernel
def _find(event_id: Any, ids: Any, table: Any, count: int) -> tuple[Any, Any]:
    """Where an id is in the table, with its number; or where it may be put, and -1.

    The table holds numbers of entries of the ring, counted from 1 (0: free), where their ids are looked for first, or
    behind. Those that the ring has lost are passed over, and may be written over.
    """
    mask = np.uint64(table.shape[0] - 1)
    at, free = event_id & mask, np.int64(-1)
    while table[at] != 0:
        number = table[at] - 1
        if number < count - ids.shape[0]:
            if free < 0:
                free = np.int64(at)
        elif ids[number % ids.shape[0]] == event_id:
            return np.int64(at), number
        at = (at + np.uint64(1)) & mask
    return (np.int64(at) if free < 0 else free), np.int64(-1)


@kernel
def _index(ids: Any, table: Any, first: int, count: int) -> None:
    """Fills the table anew with the entries from `first` to `count`."""
    table[:] = 0
    for number in range(first, count):
        at, _ = _find(ids[number % ids.shape[0]], ids, table, count)
        table[at] = number + 1


@kernel
def _take_in(
    event_ids: Any,
    at_offsets: Any,
    folded_to: int,
    known: Any,
    ids: Any,
    offsets: Any,
    table: Any,
    count: int,
    out: Any,
) -> int:
    """out[i]: whether a record is the first of its id. Returns how many entries there have been."""
    capacity = ids.shape[0]
    for i in range(event_ids.shape[0]):
        if at_offsets[i] < folded_to:
            # One further back than the ring is taken to be the first: nothing is known against it.
            at = np.searchsorted(known, at_offsets[i])
            out[i] = at == 0 or (at < known.shape[0] and known[at] == at_offsets[i])
            continue
        place, number = _find(event_ids[i], ids, table, count)
        out[i] = number < 0 or count - number > capacity // 2
        if out[i]:
            ids[count % capacity], offsets[count % capacity] = event_ids[i], at_offsets[i]
            table[place] = count + 1
            count += 1
            if count % capacity == 0:  # else no place would be free in the end
                _index(ids, table, count - capacity, count)
    return count


class Seen:
    """The ids taken in lately from one partition in one bucket, in a ring of twice the horizon.

    Twice, so that a restart that begins some records back can still tell which of them had been duplicates.

    Args:
        horizon: how many events back an id is known; 0 turns it off.
        packed: the ring as the store has it.

    Example:
        >>> seen = Seen(horizon=100)
        >>> seen.take_in_all(event_ids(["a", "b", "a"]), np.array([0, 1, 2]), folded_to=0).tolist()
        [True, True, False]
    """

    def __init__(self, horizon: int, packed: bytes = b"") -> None:
        self._capacity = 2 * horizon
        stored = np.frombuffer(packed, _ENTRY, len(packed) // _ENTRY.itemsize)
        held = stored[stored["id"] != 0]
        held = held[np.argsort(held["offset"], kind="stable")][-self._capacity :] if horizon else held[:0]
        #: What was known when the partition was taken: asked about records that come again.
        self._known = np.ascontiguousarray(held["offset"])
        self._ids, self._offsets = np.zeros(self._capacity, np.uint64), np.zeros(self._capacity, np.int64)
        self._count = self._place(stored, held)
        first = self._count - len(held)
        self._written = first if self._anew else self._count
        # A quarter full at most when it is made anew, and half full before it is again.
        self._table = np.zeros(1 << max(4 * self._capacity - 1, 1).bit_length(), np.int64)
        if horizon:
            at = np.arange(first, self._count) % self._capacity
            self._ids[at], self._offsets[at] = held["id"], held["offset"]
            _index(self._ids, self._table, first, self._count)

    def _place(self, stored: NDArray[np.void], held: NDArray[np.void]) -> int:
        """The count of entries that puts the next one where the store's ring goes on; else it is written anew."""
        self._anew = False
        n = len(held)
        if len(stored) == n and np.array_equal(stored, held):
            return n  # it has not come around yet, or has just
        if len(stored) == self._capacity == n:
            return n + int(np.argmax(stored["offset"])) + 1
        self._anew = True
        return n

    def take_in(self, event_id: int, offset: int, folded_to: int) -> bool:
        """`take_in_all` of one record."""
        return bool(self.take_in_all(np.array([event_id], np.uint64), np.array([offset], np.int64), folded_to)[0])

    def take_in_all(
        self, event_ids: NDArray[np.uint64], offsets: NDArray[np.int64], folded_to: int
    ) -> NDArray[np.bool_]:
        """Which records are the first of their ids; the others are duplicates. bool of shape (n,).

        Args:
            event_ids: from `event_ids`, uint64 of shape (n,).
            offsets: of the records, int64 of shape (n,); ascending, from call to call too.
            folded_to: R: records before it were taken in or dropped before, and are so again.
        """
        firsts = np.ones(len(event_ids), np.bool_)
        if self._capacity:
            self._count = _take_in(
                event_ids, offsets, folded_to, self._known, self._ids, self._offsets, self._table, self._count, firsts
            )
        return firsts

    @property
    def anew(self) -> bool:
        """Whether the store's ring is to be emptied before the patches are written: its size has changed."""
        return self._anew

    def patches(self) -> tuple[Patch, ...]:
        """What the store's ring lacks."""
        begin = max(self._written, self._count - self._capacity)
        if begin == self._count:
            return ()
        low, high = begin % self._capacity, (self._count - 1) % self._capacity + 1
        parts = [(low, high)] if low < high else [(low, self._capacity), (0, high)]
        return tuple(Patch(a * _ENTRY.itemsize, self._packed(a, b)) for a, b in parts)

    def _packed(self, begin: int, end: int) -> bytes:
        entries = np.empty(end - begin, _ENTRY)
        entries["id"], entries["offset"] = self._ids[begin:end], self._offsets[begin:end]
        return entries.tobytes()

    def written(self) -> None:
        """The store has all patches."""
        self._written, self._anew = self._count, False
