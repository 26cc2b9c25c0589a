"""Duplicates: events that an upstream producer delivers again, known by their event id, change nothing.

What was taken in lately is remembered beside the fence of each partition, and moves with it: the answer depends on the
log alone, never on where a batch was cut or a worker was started. Two events of one id are on one partition, since
they have one key. The horizon is a number of events: an id that comes again within the next `horizon` events of its
partition is a duplicate. It costs 32 bytes an event of the horizon in the store, and about 400 in memory: 256 KiB and
3.2 MB for 8,192 events, a partition and bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from features.store.base import Patch

_ENTRY = np.dtype([("id", "<u8"), ("offset", "<i8")])


def event_ids(texts: Iterable[str]) -> list[int]:
    """64-bit ids of event ids (XXH3), never 0.

    >>> event_ids(["e1"]) == event_ids(["e1"])
    True
    """
    hashed = xxhash.xxh3_64_intdigest
    return [hashed(text.encode()) or 1 for text in texts]


class Seen:
    """The ids taken in lately from one partition in one bucket, in a ring of twice the horizon.

    Twice, so that a restart that begins some records back can still tell which of them had been duplicates.

    Args:
        horizon: how many events back an id is known; 0 turns it off.
        packed: the ring as the store has it.

    Example:
        >>> seen = Seen(horizon=100)
        >>> [seen.take_in(id, offset, folded_to=0) for offset, id in enumerate([7, 8, 7])]
        [True, True, False]
    """

    def __init__(self, horizon: int, packed: bytes = b"") -> None:
        self._horizon, self._capacity = horizon, 2 * horizon
        stored = np.frombuffer(packed, _ENTRY, len(packed) // _ENTRY.itemsize)
        held = stored[stored["id"] != 0]
        held = held[np.argsort(held["offset"], kind="stable")][-self._capacity :] if horizon else held[:0]
        #: What was known when the partition was taken: asked about records that come again.
        self._offsets: list[int] = held["offset"].tolist()
        # Lists: a look-up or an assignment costs a fifth of what it does in an array.
        self._ids = [0] * self._capacity
        self._at = [0] * self._capacity
        self._count = self._place(stored, held)
        first = self._count - len(held)
        self._number: dict[int, int] = {}
        for number, (event_id, offset) in enumerate(held.tolist(), first):
            at = number % self._capacity
            self._number[event_id], self._ids[at], self._at[at] = number, event_id, offset
        self._written = first if self._anew else self._count

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
        """Whether a record is the first of its id; False is a duplicate.

        Args:
            event_id: from `event_ids`.
            offset: of the record; ascending from call to call.
            folded_to: R: records before it were taken in or dropped before, and are so again.
        """
        return self.take_in_all([event_id], [offset], folded_to)[0]

    def take_in_all(self, event_ids: Sequence[int], offsets: Sequence[int], folded_to: int) -> list[bool]:
        """`take_in` for many records, one after another."""
        if not self._horizon:
            return [True] * len(event_ids)
        horizon, capacity, count = self._horizon, self._capacity, self._count
        ids, at_offset, numbers = self._ids, self._at, self._number
        number_of = numbers.get
        firsts = []
        for event_id, offset in zip(event_ids, offsets, strict=True):
            if offset < folded_to:
                firsts.append(self._was_first(offset))
                continue
            if count - number_of(event_id, -capacity) <= horizon:
                firsts.append(False)
                continue
            at = count % capacity
            gone = ids[at]
            if gone and number_of(gone) == count - capacity:
                del numbers[gone]
            ids[at], at_offset[at] = event_id, offset
            numbers[event_id] = count
            count += 1
            firsts.append(True)
        self._count = count
        return firsts

    def _was_first(self, offset: int) -> bool:
        """A record further back than the ring is taken to be the first: nothing is known against it."""
        at = bisect_left(self._offsets, offset)
        return at == 0 or (at < len(self._offsets) and self._offsets[at] == offset)

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
        entries["id"], entries["offset"] = self._ids[begin:end], self._at[begin:end]
        return entries.tobytes()

    def written(self) -> None:
        """The store has all patches."""
        self._written, self._anew = self._count, False
