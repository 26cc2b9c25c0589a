"""Shelf vectors of a log of hours: both views are folded as a worker folds them, and read at the end of hours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.hazard import HazardRows
from export.datasets.hourly import Hourly
from export.errors import UsageError
from features.aggregations.base import HOUR_MS
from features.discovery import discover
from features.logfile import EventLogError, chunks, topic_file
from features.logrows import rows_of_chunk
from features.pointintime import SlotRows
from features.table import EntityTable
from features.vectors import regional, shelf

Tell = Callable[[str, float], None]
Columns = dict[str, NDArray[Any]]
_STREAMS = ("inventory", "region_stock")


def shelf_features(
    events: Path, hours: Hourly, rows: HazardRows, tell: Tell = lambda text, share: None
) -> NDArray[np.float32]:
    """The features of some rows, float32 of shape (n, 41), columns as `features.vectors.shelf.FEATURES`.

    Args:
        events: the event log that the hours were read from.
        hours: of all items.
        rows: in order of time, as `hazard_rows` gives them.
        tell: hears how far it is.

    Raises:
        UsageError: the inventory cannot be read.
    """
    walk = _Walk(hours, _read(events, hours, tell))
    first = np.searchsorted(rows.row, np.arange(len(hours.sold) + 1))
    out = np.empty((len(rows), len(shelf.FEATURES)), np.float32)
    for row, ends_h in enumerate((hours.day * 24 + hours.opens + hours.hour + 1).tolist()):
        walk.fold(ends_h * HOUR_MS)
        if first[row] < first[row + 1]:
            at = slice(first[row], first[row + 1])
            out[at] = walk.features(rows.item[at], ends_h * HOUR_MS)
        if not row % hours.a_day:
            tell("folding the shelves", row / len(hours.sold))
    return out


@dataclass(frozen=True, slots=True)
class _Told:
    """Rows of one view, in order of time.

    Args:
        slots: of each row, int64 of shape (n,); those of no entity are left out.
        columns: of its stream.
    """

    slots: NDArray[np.int64]
    columns: Columns

    def between(self, begin: int, end: int) -> SlotRows:
        return SlotRows("", (), {name: column[begin:end] for name, column in self.columns.items()})


def _read(events: Path, hours: Hourly, tell: Tell) -> dict[str, tuple[list[str], _Told]]:
    """Of each stream: its entities, and its rows."""
    regions = [regional.region_key(item) for item in hours.items]
    entities = {"inventory": hours.items, "region_stock": sorted({key for key in regions if key is not None})}
    number = {stream: {key: i for i, key in enumerate(keys)} for stream, keys in entities.items()}
    parts: dict[str, list[tuple[NDArray[np.int64], Columns]]] = {stream: [] for stream in _STREAMS}
    try:
        for chunk in chunks(topic_file(events, "inventory"), "inventory"):
            for stream, found in rows_of_chunk(chunk, "inventory", _STREAMS).items():
                keys = [key and key.partition("#")[0] for key in found.entities.to_pylist()]  # no region, no key
                slot = np.array([number[stream].get(key, -1) for key in keys], np.int64)[found.entity]
                kept = slot >= 0
                parts[stream].append((slot[kept], {name: column[kept] for name, column in found.columns.items()}))
            tell("reading the inventory", chunk.share)
    except (FileNotFoundError, EventLogError) as error:
        raise UsageError(str(error)) from error
    return {stream: (entities[stream], _joined(parts[stream])) for stream in _STREAMS}


def _joined(parts: list[tuple[NDArray[np.int64], Columns]]) -> _Told:
    slots = np.concatenate([slot for slot, _ in parts])
    columns = {name: np.concatenate([column[name] for _, column in parts]) for name in parts[0][1]}
    times = columns["event_time_ms"]
    if (times[1:] >= times[:-1]).all():
        return _Told(slots, columns)
    order = np.argsort(times, kind="stable")
    return _Told(slots[order], {name: column[order] for name, column in columns.items()})


class _Walk:
    """Records of all items and of all products in regions, as of a time that goes on."""

    def __init__(self, hours: Hourly, told: dict[str, tuple[list[str], _Told]]) -> None:
        views = discover()
        self._views = {"inventory": views[shelf.VIEW], "region_stock": views[regional.VIEW]}
        self._told = {stream: rows for stream, (_, rows) in told.items()}
        self._records = {stream: self._views[stream].empty(len(keys)) for stream, (keys, _) in told.items()}
        self._done = dict.fromkeys(told, 0)
        self._table = EntityTable("item", [views[shelf.VIEW]])
        number = {key: i for i, key in enumerate(told["region_stock"][0])}
        keys = [regional.region_key(item) for item in hours.items]
        self._region = np.array([-1 if key is None else number[key] for key in keys], np.int64)

    def fold(self, until_ms: int) -> None:
        """Takes in what came before a time."""
        for stream, told in self._told.items():
            begin, end = self._done[stream], int(np.searchsorted(told.columns["event_time_ms"], until_ms))
            if end > begin:
                self._views[stream].fold(self._records[stream], told.slots[begin:end], told.between(begin, end))
                self._done[stream] = end

    def features(self, items: NDArray[np.int64], until_ms: int) -> NDArray[np.float32]:
        """Of some items as of the millisecond before that time."""
        distinct, inverse = np.unique(self._region[items], return_inverse=True)
        known = distinct >= 0
        region = np.full((len(distinct), len(regional.FEATURES)), np.nan, np.float32)
        records = self._records["region_stock"][distinct[known]]
        region[known] = regional.region_columns(records, np.full(len(records), until_ms)).columns
        table = self._table.over({shelf.VIEW: self._records["inventory"]})
        return shelf.shelf_rows(table, items, np.full(len(items), until_ms - 1), region[inverse])
