"""Point in time: the state of an entity after exactly the first k of its rows, for many entities and ks at once.

States of different entities do not touch each other, so it goes level by level: level l folds, for every entity at
once, the rows between its (l−1)-th and its l-th k by one call of the view's own fold. What k is, is the caller's: it
may come from event times, from arrival, or from offsets; no time is looked at here.

Costs: one pass over the rows that are asked for, and about 0.04 ms a level: as many as the most ks of one entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import kernel
from features.rows import Rows
from features.view import View

Ints = NDArray[np.int64]

#: Records that `blocks` hands out at once.
BLOCK = 16_384


@kernel
def _group(entity: Any, places: Any, out: Any) -> None:
    """out: the rows grouped by entity, in their order within each; `places` says where each entity's begin."""
    for i in range(entity.shape[0]):
        e = entity[i]
        out[places[e]] = i
        places[e] += 1


@kernel
def _count_before(keys: Any, first: Any, entity: Any, wanted: Any, equal: bool, out: Any) -> None:
    for i in range(entity.shape[0]):
        low = begin = first[entity[i]]
        high = first[entity[i] + 1]
        while low < high:
            middle = (low + high) // 2
            if keys[middle] < wanted[i] or (equal and keys[middle] == wanted[i]):
                low = middle + 1
            else:
                high = middle
        out[i] = low - begin


def grouped(entity: Ints, entities: int) -> tuple[Ints, Ints]:
    """Rows grouped by entity, in their order within each.

    Args:
        entity: of each row, 0 to `entities` − 1, int64 of shape (n,).
        entities: how many there are.

    Returns:
        The rows in that order, shape (n,), and where each entity's begin with the end of the last one, shape
        (entities + 1,).

    >>> [part.tolist() for part in grouped(np.array([1, 0, 1]), 2)]
    [[1, 0, 2], [0, 1, 3]]
    """
    first = np.zeros(entities + 1, np.int64)
    np.cumsum(np.bincount(entity, minlength=entities), out=first[1:])
    order = np.empty(len(entity), np.int64)
    _group(entity, first[:-1].copy(), order)
    return order, first


def count_before(keys: Ints, first: Ints, entity: Ints, wanted: Ints, equal: bool) -> Ints:
    """How many of an entity's rows have a smaller key (or, where `equal`, no larger one), int64 of shape (m,).

    Args:
        keys: of the rows, grouped by entity and ascending within each.
        first: where each entity's rows begin, as from `grouped`.
        entity, wanted: what is asked, shape (m,) each.
    """
    out = np.empty(len(entity), np.int64)
    _count_before(keys, first, entity, wanted, equal, out)
    return out


class SlotRows(Rows):
    """Rows of entities that are told by their slots alone: folds read no names."""

    def __len__(self) -> int:
        return len(self.columns["event_time_ms"])

    def take(self, index: NDArray[np.intp]) -> Rows:
        """The rows at `index`, in that order."""
        return SlotRows(self.stream, (), {name: column[index] for name, column in self.columns.items()})


@dataclass(frozen=True, slots=True)
class _Levels:
    """What is folded and copied out level by level; entities have slots by how many levels they have, most first.

    Args:
        rows, slots: the rows that are folded and their slots, by level.
        row_ends: the end of each level's rows.
        spine, spine_slots: the spine rows and their slots, by level.
        spine_ends: the end of each level's spine rows.
        active: how many slots each level reads.
    """

    rows: Ints
    slots: Ints
    row_ends: Ints
    spine: Ints
    spine_slots: Ints
    spine_ends: Ints
    active: Ints


def blocks(
    view: View,
    columns: Mapping[str, NDArray[Any]],
    order: Ints,
    first: Ints,
    spine_entity: Ints,
    visible: Ints,
    size: int = BLOCK,
) -> Iterator[tuple[Ints, NDArray[np.void]]]:
    """As `snapshots`, some spine rows at a time, each once: memory is a record an entity and a block.

    Args:
        order, first: the rows by entity, as they are folded, and where each entity's begin, as from `grouped`.
        size: records that are handed out at once, at most.

    Returns:
        Indices of spine rows, int64 of shape (b,), and their packed records, shape (b,).
    """
    if not len(spine_entity):
        return
    levels = _levels(order, first, spine_entity, visible)
    taken = {name: np.ascontiguousarray(column[levels.rows]) for name, column in columns.items()}
    records = view.empty(int(levels.active[0]))
    held: list[NDArray[np.void]] = []
    row, done, begin, total = 0, 0, 0, len(spine_entity)
    for row_end, spine_end, active in zip(
        levels.row_ends.tolist(), levels.spine_ends.tolist(), levels.active.tolist(), strict=True
    ):
        if row_end > row:
            part = SlotRows(view.stream, (), {name: column[row:row_end] for name, column in taken.items()})
            view.fold(records[:active], levels.slots[row:row_end], part)
            row = row_end
        while done < spine_end:
            until = min(spine_end, begin + size)
            held.append(records[levels.spine_slots[done:until]])
            done = until
            if done - begin == size or done == total:
                yield levels.spine[begin:done], np.concatenate(held)
                held, begin = [], done


def snapshots(
    view: View, columns: Mapping[str, NDArray[Any]], entity: Ints, spine_entity: Ints, visible: Ints
) -> NDArray[np.void]:
    """The state of each spine row's entity after exactly the first so many of its rows.

    Entities that no spine row asks for are never folded.

    Args:
        view: what is folded.
        columns: `kind`, `event_time_ms` and the columns of the view's stream, each of shape (n,).
        entity: of each row, int64 of shape (n,); an entity's rows are in the order in which they are folded.
        spine_entity: of each spine row, int64 of shape (m,).
        visible: how many of its entity's rows each spine row sees, int64 of shape (m,).

    Returns:
        Packed records, shape (m,).

    Raises:
        ValueError: a spine row sees more rows than its entity has, or fewer than none.

    Example:
        >>> from features.discovery import discover
        >>> from features.rows import OrderKind
        >>> view, none = discover()["customer_orders"], np.zeros(2, np.int64)
        >>> columns = {"kind": np.zeros(2, np.int8), "event_time_ms": np.array([86_400_000, 172_800_000])}
        >>> columns |= {name: none for name in ("value", "units", "lines")}
        >>> one = np.zeros(2, np.int64)
        >>> snapshots(view, columns, one, spine_entity=one, visible=np.array([2, 1]))["version"].tolist()
        [2, 1]
    """
    out = np.empty(len(spine_entity), view.dtype)
    order, first = grouped(entity, int(max(spine_entity.max(initial=0), entity.max(initial=0))) + 1)
    for index, records in blocks(view, columns, order, first, spine_entity, visible):
        out[index] = records
    return out


def _levels(order: Ints, first: Ints, spine_entity: Ints, visible: Ints) -> _Levels:
    entities = len(first) - 1
    wrong = np.flatnonzero((visible < 0) | (visible > np.diff(first)[spine_entity]))
    if len(wrong):
        at = int(wrong[0])
        has = int(np.diff(first)[spine_entity[at]])
        raise ValueError(f"spine row {at} sees {int(visible[at])} rows of its entity, which has {has}")
    # A pair is an entity with a number of rows that some spine row sees; its level counts the entity's pairs before.
    end = first[spine_entity] + visible
    by_end = np.lexsort((end, spine_entity))
    fresh = np.ones(len(by_end), bool)
    fresh[1:] = (np.diff(end[by_end]) != 0) | (np.diff(spine_entity[by_end]) != 0)
    pair = np.empty(len(by_end), np.int64)
    pair[by_end] = np.cumsum(fresh) - 1
    pair_end, pair_entity = end[by_end][fresh], spine_entity[by_end][fresh]
    pairs_of = np.bincount(pair_entity, minlength=entities)
    first_pair = np.concatenate([np.zeros(1, np.int64), np.cumsum(pairs_of)])
    level = np.arange(len(pair_end)) - first_pair[pair_entity]
    slot = np.empty(entities, np.int64)
    slot[np.argsort(-pairs_of, kind="stable")] = np.arange(entities)
    count = int(pairs_of.max())
    rows, slots, row_ends = _rows_by_level(order, first, slot, pair_end, pair_entity, level, count)
    spine_level = level[pair]
    spine = np.argsort(spine_level, kind="stable")
    spine_ends = np.cumsum(np.bincount(spine_level, minlength=count))
    active = np.bincount(level, minlength=count)
    return _Levels(rows, slots, row_ends, spine, slot[spine_entity[spine]], spine_ends, active)


def _rows_by_level(
    order: Ints, first: Ints, slot: Ints, pair_end: Ints, pair_entity: Ints, level: Ints, count: int
) -> tuple[Ints, Ints, Ints]:
    """The rows that are folded, by level and entity, with their slots; and the end of each level."""
    # The pair of a row is the first that ends behind it, if that is of the row's entity; no later one needs it.
    pair = np.cumsum(np.bincount(pair_end, minlength=len(order) + 1))[: len(order)]
    of = np.repeat(np.arange(len(first) - 1), np.diff(first))
    needed = pair < len(pair_end)
    needed[needed] = pair_entity[pair[needed]] == of[needed]
    rows, slots, row_level = order[needed], slot[of[needed]], level[pair[needed]]
    if count == 1:
        return rows, slots, np.array([len(rows)])
    by_level, ends = grouped(row_level, count)
    return rows[by_level], slots[by_level], ends[1:]
