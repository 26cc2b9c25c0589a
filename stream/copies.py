"""Copies of item records, in between the events of a micro-batch: alerts look at an item after each of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.rows import Rows
from features.table import EntityTable
from stream.events import SourceOffset


@dataclass(slots=True)
class Copies:
    """Items as they were after each of their events but the last of a micro-batch.

    Args:
        left: how many rows of each item are in feeds that have not been folded yet.
    """

    left: Counter[str]
    keys: list[str] = field(default_factory=list)
    sources: list[SourceOffset] = field(default_factory=list)
    #: Their bytes, uint8 of shape (copies, size) each: NumPy joins structs field by field, and bytes at once.
    records: dict[str, list[NDArray[np.uint8]]] = field(default_factory=dict)

    def table(self, items: EntityTable) -> EntityTable:
        """The copies, in the order of `keys`."""
        return items.over(
            {name: np.concatenate(parts).view(items.views[name].dtype).ravel() for name, parts in self.records.items()}
        )

    def fold(
        self, table: EntityTable, rows: Rows, topic: str, partition: NDArray[np.int64], offset: NDArray[np.int64]
    ) -> Counter[str]:
        """Folds rows of one feed, one event an item at a time, and keeps copies in between.

        Returns:
            By view, how many rows came too late.
        """
        number, count = _numbered(rows.entities)
        again = np.fromiter((self.left[e] > 0 for e in rows.entities), bool, len(rows))
        early = again | (number + 1 < count)
        slots, entities = table.slots_of(rows.entities), np.array(rows.entities, object)
        views = [view for view in table.views.values() if view.stream == rows.stream]
        late = Counter[str]()
        order = np.argsort(number, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            columns = {name: column[part] for name, column in rows.columns.items()}
            some = Rows(rows.stream, entities[part].tolist(), columns)
            for view in views:
                if too_late := view.fold(table.records[view.name], slots[part], some):
                    late[view.name] += too_late
            kept = part[early[part]]
            if len(kept):
                self.keys += entities[kept].tolist()
                at = zip(partition[kept].tolist(), offset[kept].tolist(), strict=True)
                self.sources += [SourceOffset(topic, p, o) for p, o in at]
                for name in table.views:
                    self.records.setdefault(name, []).append(table.raw_bytes(name)[slots[kept]])
        return late


def _numbered(entities: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The how-many-th row of its entity each row is, from 0, and how many there are; int64 of shape (n,) each."""
    seen = Counter[str]()
    number = np.empty(len(entities), np.int64)
    for i, entity in enumerate(entities):
        number[i] = seen[entity]
        seen[entity] += 1
    return number, np.fromiter((seen[e] for e in entities), np.int64, len(entities))
