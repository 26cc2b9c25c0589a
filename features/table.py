"""The hot table: packed records of the entities at hand, bounded, least recently used out first.

State is write-through, so an eviction loses nothing: the next touch loads the record from the store.
Costs one dict look-up an event.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, State, Times
from features.layout import Layouts
from features.rows import Rows
from features.view import View

_FIRST_CAPACITY = 1024


class EntityTable:
    """Records of one entity type, a slot an entity, an array a view.

    Args:
        entity: `customer` or `item`.
        views: the views to keep; all of them of this entity.
        max_entities: evict the least recently used beyond this many; one micro-batch's own entities always stay.
        layouts: knows the layouts of records that another version wrote.

    Example:
        >>> from features.rows import rows_of
        >>> from features.discovery import views_of
        >>> table = EntityTable("item", views_of("item"))
        >>> slots = table.admit_new(["w:A"])
        >>> time, one = [86_400_000], [100]
        >>> row = rows_of("demand", ["w:A"], kind=[0], event_time_ms=time, quantity=[2000], value=one, customer=[7])
        >>> table.fold(row)
        {}
        >>> table.read("item_demand", slots, np.array([86_400_000]))["units_1d"].tolist()
        [2.0]
    """

    def __init__(
        self, entity: str, views: Sequence[View], max_entities: int = 1_000_000, layouts: Layouts | None = None
    ) -> None:
        self.entity = entity
        self.layouts = Layouts() if layouts is None else layouts
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
        for name, array in self.records.items():
            array[slots] = self.views[name].blank
        self._used[slots] = self._batch
        return slots

    def admit(self, keys: Sequence[str], packed: Mapping[str, Sequence[bytes | None]]) -> Slots:
        """Gives entities a slot and fills in records from the store; None starts anew, another layout is migrated.

        Returns:
            Slots, int64 of shape (n,).
        """
        # Unpacked first: that may ask the store for a layout, and fail, when no slot has been given yet.
        found: dict[str, tuple[NDArray[np.intp], NDArray[np.void]]] = {}
        for name, blobs in packed.items():
            held = [blob for blob in blobs if blob is not None]
            if held:
                index = np.flatnonzero([blob is not None for blob in blobs])
                found[name] = index, self._unpacked(self.views[name], held)
        slots = self.admit_new(keys)
        for name, (index, records) in found.items():
            self.records[name][slots[index]] = records
        return slots

    def _unpacked(self, view: View, blobs: Sequence[bytes]) -> NDArray[np.void]:
        size = view.dtype.itemsize
        stamp = view.fingerprint.to_bytes(8, "little")
        if all(len(blob) == size and blob[:8] == stamp for blob in blobs):
            return np.frombuffer(b"".join(blobs), view.dtype)
        fits = [len(blob) == size and blob[:8] == stamp for blob in blobs]
        self.layouts.learn(int.from_bytes(b[:8], "little") for b, fit in zip(blobs, fits, strict=True) if not fit)
        records = [
            np.frombuffer(blob, view.dtype) if fit else self.layouts.migrate(view, blob)
            for blob, fit in zip(blobs, fits, strict=True)
        ]
        return np.concatenate(records)

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
            self.records[name] = np.concatenate([array, self.views[name].empty(old)])

    def forget(self, keys: Iterable[str] | None = None) -> None:
        """Drops entities (all of them where None) without writing; the store has what was committed."""
        for key in list(self._slot if keys is None else keys):
            if key in self._slot:
                self._release(self._slot[key])

    def fold(self, rows: Rows) -> dict[str, int]:
        """Applies rows, whose entities are all in the table, to every view of their stream.

        Returns:
            By view, how many rows came too late to be taken in; only where there are any.
        """
        late: dict[str, int] = {}
        if len(rows) == 0:
            return late
        slots = self.slots_of(rows.entities)
        for view in self.views.values():
            if view.stream == rows.stream:
                too_late = view.fold(self.records[view.name], slots, rows)
                if too_late:
                    late[view.name] = too_late
        return late

    def read(self, view: str, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """All columns of a view at `slots` as of event times `as_of_ms`."""
        return self.views[view].read(self.records[view], slots, as_of_ms)

    def part(self, view: str, aggregation: str, slots: Slots, as_of_ms: Times) -> tuple[Any, State, Slots]:
        """An aggregation of a view with its state as of `as_of_ms`, and the slots in that state."""
        return self.views[view].part(self.records[view], aggregation, slots, as_of_ms)

    def over(self, records: Mapping[str, NDArray[np.void]]) -> EntityTable:
        """A table of the same views over copies of records, to read from: slot n is the n-th of each."""
        other = copy.copy(self)
        other.records = dict(records)
        return other

    def raw(self, view: str, aggregation: str) -> State:
        """The state arrays of an aggregation as they are stored, whatever has expired."""
        return self.views[view].raw(self.records[view], aggregation)

    def event_time_ms(self, slots: Slots) -> NDArray[np.int64]:
        """The newest event time in any view of each entity, int64 of shape (n,)."""
        newest = [array["event_time_ms"][slots] for array in self.records.values()]
        return np.asarray(np.maximum.reduce(newest))

    def pack(self, view: str, slots: Slots) -> list[bytes]:
        """The packed records at `slots`, ready for the store."""
        size = self.views[view].dtype.itemsize
        raw = self.raw_bytes(view)[slots].tobytes()
        return [raw[at : at + size] for at in range(0, len(raw), size)]

    def raw_bytes(self, view: str) -> NDArray[np.uint8]:
        """The packed records of a view, uint8 of shape (slots, size): no copy."""
        return self.records[view].view(np.uint8).reshape(-1, self.views[view].dtype.itemsize)
