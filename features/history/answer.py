"""Answering: the rows of a shard folded up to each spine row, and the columns read there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.history.asked import Asked, By
from features.history.gather import Rows
from features.pointintime import blocks, count_before, grouped
from features.rows import STREAMS
from features.view import View

Ints = NDArray[np.int64]
_MIX = np.uint64(0x9E3779B97F4A7C15)


def answer_type(views: Sequence[View], sequences: bool) -> np.dtype[np.void]:
    """What a spine row is given: a field a column, with the view's name before it."""
    spec: list[Any] = []
    for view in views:
        spec += [(f"{view.name}__event_time_ms", np.int64), (f"{view.name}__version", np.int64)]
        spec += [(f"{view.name}__{column}", np.float64) for column in view.describe()]
        if sequences:
            one = view.read_lists(view.blank, np.zeros(1, np.int64), np.zeros(1, np.int64))
            spec += [(f"{view.name}__{name}", values.dtype, values.shape[1:]) for name, values in one.items()]
    return np.dtype(spec)


def first_of_its_id(rows: Rows) -> NDArray[np.bool_]:
    """Which rows are of the first event of their id; equal events have equal entities, so a shard has all of them."""
    n = len(rows["event"])
    if not n:
        return np.ones(0, bool)
    mixed = rows["id"] ^ (rows["entity"].astype(np.uint64) * _MIX)
    heads = np.flatnonzero(np.concatenate([[True], (mixed[1:] != mixed[:-1]) | (np.diff(rows["event"]) != 0)]))
    ids, event = mixed[heads], rows["event"][heads]
    in_order = np.sort(ids)  # much faster than to sort numbers by id, which only a log with duplicates needs
    if not (in_order[1:] == in_order[:-1]).any():
        return np.ones(n, bool)
    order = np.argsort(ids)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ids[order]) != 0]))
    earliest = np.repeat(np.minimum.reduceat(event[order], starts), np.diff(starts, append=len(heads)))
    first = np.empty(len(heads), bool)
    first[order] = event[order] == earliest
    return np.repeat(first, np.diff(heads, append=n))


def answer(
    asked: Asked, views: Sequence[View], rows: Rows, entity: Ints, as_of_ms: Ints, out: NDArray[np.void]
) -> None:
    """Fills in the columns of views of one stream.

    Args:
        views: of one stream.
        rows: of that stream, in arrival order, without duplicates.
        entity, as_of_ms: of each spine row, int64 of shape (m,).
        out: of `answer_type`, shape (m,).
    """
    if not len(entity):
        return
    entities = int(max(entity.max(), rows["entity"].max(initial=0))) + 1
    order, first = _fold_order(rows, asked.by, entities)
    key = rows["event_time_ms" if asked.by is By.EVENT_TIME else "arrival"][order]
    visible = count_before(key, first, entity, as_of_ms, asked.include_equal)
    columns = {name: rows[name] for name in ("kind", "event_time_ms", *STREAMS[views[0].stream][1])}
    for view in views:
        for index, records in blocks(view, columns, order, first, entity, visible):
            _read(asked, view, records, as_of_ms[index], out, index)


def _fold_order(rows: Rows, by: By, entities: int) -> tuple[Ints, Ints]:
    """Rows by entity, and within it as they are folded; where each entity's begin."""
    if by is By.ARRIVAL:
        return grouped(rows["entity"], entities)
    times = rows["event_time_ms"]
    if (times[1:] >= times[:-1]).all():
        return grouped(rows["entity"], entities)
    by_time = np.argsort(times, kind="stable")
    order, first = grouped(rows["entity"][by_time], entities)
    return by_time[order], first


def _read(
    asked: Asked, view: View, records: NDArray[np.void], as_of_ms: Ints, out: NDArray[np.void], index: Ints
) -> None:
    records, slots = view.as_of(records, np.arange(len(records)), as_of_ms)
    out[f"{view.name}__event_time_ms"][index] = records["event_time_ms"][slots]
    out[f"{view.name}__version"][index] = records["version"][slots]
    found: dict[str, NDArray[Any]] = dict(view.read(records, slots, as_of_ms))
    if asked.sequences:
        found |= view.read_lists(records, slots, as_of_ms)
    for name, values in found.items():
        out[f"{view.name}__{name}"][index] = values
