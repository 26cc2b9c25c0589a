"""The hot table: packed records of the entities at hand, bounded, least recently used out first.

State is write-through, so an eviction loses nothing: the next touch loads the record from the store.
Costs one dict look-up an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.rows import Rows
from features.view import View

_FIRST_CAPACITY = 1024


class EntityTable:
    """Records of one entity type, a slot an entity, an array a view.

    Args:
        entity: `customer` or `item`.
        views: the views to keep; all of them of this entity.
        max_entities: evict the least recently used beyond this many; one micro-batch's own entities always stay.

    Example:
        >>> from features.rows import rows_of
        >>> from features.view import views_of
        >>> table = EntityTable("item", views_of("item"))
        >>> slots = table.admit_new(["w:A"])
        >>> row = rows_of("demand", ["w:A"], kind=[0], event_time_ms=[86_400_000], quantity=[2000], value=[100])
        >>> table.fold(row)
        >>> table.read("item_demand", slots, np.array([86_400_000]))["units_1d"].tolist()
        [2.0]
    """

    def __init__(self, entity: str, views: Sequence[View], max_entities: int = 1_000_000) -> None:
        self.entity = entity
        self.views: Mapping[str, View] = {view.name: view for view in views}
        self.max_entities = max_entities
        self.keys: list[str | None] = [None] * _FIRST_CAPACITY
        self._slot: dict[str, int] = {}
        self._free = list(range(_FIRST_CAPACITY - 1, -1, -1))
        self._used = np.zeros(_FIRST_CAPACITY, np.int64)
        self._batch = 1
        self.records = {view.name: view.empty(_FIRST_CAPACITY) for view in views}

    def __len__(self) -> int:
        return len(self._slot)

    def __contains__(self, key: str) -> bool:
        return key in self._slot

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no slot, in order, each once; marks the others as used now.

        So that admitting the missing ones evicts none of the others.
        """
        slots = {key: self._slot.get(key) for key in keys}
        held = [slot for slot in slots.values() if slot is not None]
        self._used[np.array(held, np.int64)] = self._batch
        return [key for key, slot in slots.items() if slot is None]

    def slots_of(self, keys: Sequence[str]) -> Slots:
        """The slots of entities that are all in the table, int64 of shape (n,); marks them as used now."""
        slots = np.fromiter(map(self._slot.__getitem__, keys), np.int64, len(keys))
        self._used[slots] = self._batch
        return slots

    def next_batch(self) -> None:
        """Begins a micro-batch: what is used from here on is newer than all before."""
        self._batch += 1

    def admit_new(self, keys: Sequence[str]) -> Slots:
        """Gives entities that are not in the table a slot each, in their initial state."""
        self._make_room(len(keys))
        slots = np.array([self._free.pop() for _ in keys], dtype=np.int64)
        for key, slot in zip(keys, slots.tolist(), strict=True):
            self._slot[key] = slot
            self.keys[slot] = key
        for array in self.records.values():
            array[slots] = np.zeros((), array.dtype)
        self._used[slots] = self._batch
        return slots

    def admit(self, keys: Sequence[str], packed: Mapping[str, Sequence[bytes | None]]) -> Slots:
        """Gives entities a slot and fills in records from the store; None, or another layout, starts anew.

        Returns:
            Slots, int64 of shape (n,).
        """
        slots = self.admit_new(keys)
        for name, blobs in packed.items():
            view = self.views[name]
            for slot, blob in zip(slots.tolist(), blobs, strict=True):
                if blob is not None and _fits(view, blob):
                    self.records[name][slot] = np.frombuffer(blob, view.dtype)[0]
        return slots

    def _make_room(self, n: int) -> None:
        over = len(self._slot) + n - self.max_entities
        if over > 0:
            # Finding the oldest is a pass over the whole table: some more than needed, so that it is rare.
            self._evict(max(over, self.max_entities // 16))
        while len(self._free) < n:
            self._grow()

    def _evict(self, n: int) -> None:
        slots = np.fromiter(self._slot.values(), np.int64, len(self._slot))
        old = slots[self._used[slots] < self._batch]
        oldest = old[np.argsort(self._used[old], kind="stable")[:n]]
        for slot in oldest.tolist():
            self._release(slot)

    def _release(self, slot: int) -> None:
        key = self.keys[slot]
        assert key is not None
        del self._slot[key]
        self.keys[slot] = None
        self._free.append(slot)

    def _grow(self) -> None:
        old = len(self.keys)
        self.keys += [None] * old
        self._free += range(2 * old - 1, old - 1, -1)
        self._used = np.concatenate([self._used, np.zeros(old, np.int64)])
        for name, array in self.records.items():
            self.records[name] = np.concatenate([array, np.zeros(old, array.dtype)])

    def forget(self, keys: Iterable[str] | None = None) -> None:
        """Drops entities (all of them where None) without writing; the store has what was committed."""
        for key in list(self._slot if keys is None else keys):
            if key in self._slot:
                self._release(self._slot[key])

    def fold(self, rows: Rows) -> None:
        """Applies rows, whose entities are all in the table, to every view of their stream."""
        if len(rows) == 0:
            return
        slots = self.slots_of(rows.entities)
        for view in self.views.values():
            if view.stream == rows.stream:
                view.fold(self.records[view.name], slots, rows)

    def read(self, view: str, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """All columns of a view at `slots` as of event times `as_of_ms`."""
        return self.views[view].read(self.records[view], slots, as_of_ms)

    def part(self, view: str, aggregation: str) -> tuple[Any, Mapping[str, NDArray[Any]]]:
        """An aggregation of a view, with its state arrays."""
        return self.views[view].part(self.records[view], aggregation)

    def event_time_ms(self, slots: Slots) -> NDArray[np.int64]:
        """The newest event time in any view of each entity, int64 of shape (n,)."""
        newest = [array["event_time_ms"][slots] for array in self.records.values()]
        return np.asarray(np.maximum.reduce(newest))

    def pack(self, view: str, slots: Slots) -> list[bytes]:
        """The packed records at `slots`, ready for the store."""
        size = self.views[view].dtype.itemsize
        raw = self.records[view].view(np.uint8).reshape(-1, size)[slots].tobytes()
        return [raw[at : at + size] for at in range(0, len(raw), size)]


def _fits(view: View, blob: bytes) -> bool:
    if len(blob) != view.dtype.itemsize:
        return False
    return int.from_bytes(blob[:8], "little") == view.fingerprint
