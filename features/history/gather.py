"""Gathering: the rows of the spine's entities from a log, in memory as long as they fit, else in shards on disk.

All rows of an entity are in one shard. A shard is a file a column and stream, in arrival order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.history.asked import Asked, By, Progress
from features.logcolumns import coded_ids, numbers
from features.logfile import Chunk, EventLogError, chunks, first_null
from features.logrows import TOPIC_OF, LogRows, rows_of_chunk
from features.pointintime import grouped
from features.rows import STREAMS

#: Rows of a stream as columns: those of the stream, whose each row is (`entity`), the record of the topic (`event`),
#: the record's id (`id`), and where events are seen by arrival, that (`arrival`).
Rows = dict[str, NDArray[Any]]


def no_rows(stream: str) -> Rows:
    """The columns of a stream, without rows."""
    own = {"entity": np.int64, "event": np.int64, "id": np.uint64, "arrival": np.int64}
    kinds: dict[str, Any] = {**own, "kind": np.int8, "event_time_ms": np.int64, **STREAMS[stream][1]}
    return {name: np.empty(0, kind) for name, kind in kinds.items()}


class Arrivals:
    """When the events of a topic arrived: its watermark then, or its column `arrival_ms`, whichever the log has.

    Never before an event ahead of it in the log.
    """

    def __init__(self) -> None:
        self._newest = np.iinfo(np.int64).min
        self._stamped: bool | None = None

    def of(self, chunk: Chunk) -> NDArray[np.int64]:
        """In ms, int64 of shape (n,), ascending.

        Raises:
            EventLogError: some records have `arrival_ms` and others have not.
        """
        stamps = chunk.columns["arrival_ms"]
        if self._stamped is None:
            self._stamped = stamps.null_count < len(stamps)
        if stamps.null_count != (0 if self._stamped else len(stamps)):
            at = first_null(stamps) if self._stamped else int(np.argmax(~np.asarray(stamps.is_null())))
            has = "has no" if self._stamped else "has an"
            raise EventLogError(
                f"{chunk.path}: record {chunk.first + at + 1} {has} 'arrival_ms', unlike those before it; "
                "give it to every record or to none"
            )
        times: NDArray[np.int64] = numbers(stamps if self._stamped else chunk.columns["event_time_ms"], 0, np.int64)
        arrival = np.maximum(np.maximum.accumulate(times), self._newest)
        if len(arrival):
            self._newest = int(arrival[-1])
        return arrival


class Gathered:
    """Rows by stream and shard.

    Args:
        directory: where shards are written.
        shards: into how many parts the rows go if they do not fit.
        memory_rows: more rows than this are not held.

    An entity e belongs to shard e mod `shards`, where it has the number e div `shards`.
    """

    def __init__(self, directory: Path, shards: int, memory_rows: int) -> None:
        self._directory, self._limit = directory, memory_rows
        self.shards = shards
        self.rows = 0
        self.spilled = False
        self._held: dict[str, list[Rows]] = {}
        self._in_memory = 0

    def add(self, stream: str, rows: Rows) -> None:
        """Takes in rows in arrival order."""
        self._held.setdefault(stream, []).append(rows)
        self.rows += len(rows["entity"])
        self._in_memory += len(rows["entity"])
        if self._in_memory > self._limit and self.shards > 1:
            self.spill()

    def spill(self) -> None:
        """Writes what is held to the shards."""
        self.spilled, self._in_memory = True, 0
        for stream, parts in self._held.items():
            for rows in parts:
                self._write(stream, rows)
            parts.clear()

    def _write(self, stream: str, rows: Rows) -> None:
        order, first = grouped(rows["entity"] % self.shards, self.shards)
        for name, column in rows.items():
            parted = column[order]
            for shard in range(self.shards):
                with self._path(stream, shard, name).open("ab") as file:
                    parted[first[shard] : first[shard + 1]].tofile(file)

    def take(self, stream: str, shard: int) -> Rows:
        """The rows of a stream in a shard, entities numbered within it; they are given away."""
        rows = self._read(stream, shard) if self.spilled else self._joined(stream)
        if self.shards > 1:
            rows["entity"] //= self.shards
        return rows

    def _read(self, stream: str, shard: int) -> Rows:
        rows = no_rows(stream)
        for name, none in rows.items():
            path = self._path(stream, shard, name)
            if path.exists():
                rows[name] = np.fromfile(path, none.dtype)
                path.unlink()
        return rows

    def _joined(self, stream: str) -> Rows:
        parts = self._held.pop(stream, [])
        return {
            name: np.concatenate([none, *(part.pop(name) for part in parts if name in part)])
            for name, none in no_rows(stream).items()
        }

    def _path(self, stream: str, shard: int, column: str) -> Path:
        return self._directory / f"{stream}-{shard}.{column}"


def gather(
    files: Mapping[str, Path],
    streams: Sequence[str],
    keys: NDArray[np.uint64],
    into: Gathered,
    asked: Asked,
    progress: Progress,
    chunk_bytes: int,
) -> dict[str, int]:
    """Reads the topics of `streams` once each and takes in the rows of the entities `keys`.

    Args:
        files: the file of each topic.
        keys: ids of the entities, ascending.

    Returns:
        How many events each topic has.
    """
    events = {}
    for topic in sorted({TOPIC_OF[stream] for stream in streams}):
        arrivals, read = Arrivals(), 0
        wanted = [stream for stream in streams if TOPIC_OF[stream] == topic]
        for chunk in chunks(files[topic], topic, chunk_bytes):
            ids = pl.Series(chunk.columns["event_id"]).hash().to_numpy()
            own = {"id": ids}
            if asked.by is By.ARRIVAL:
                own["arrival"] = arrivals.of(chunk)
            for stream, rows in rows_of_chunk(chunk, topic, wanted).items():
                into.add(stream, _kept(rows, keys, own, chunk.first))
            read += len(chunk)
            progress(f"reading {topic}", chunk.share)
        events[topic] = read
    return events


def _kept(rows: LogRows, keys: NDArray[np.uint64], own: Rows, first: int) -> Rows:
    """The rows of the entities asked for."""
    distinct, of = coded_ids(rows.entities)
    at = np.searchsorted(keys, distinct)
    at[at == len(keys)] = 0
    known = keys[at] == distinct if len(keys) else np.zeros(len(at), bool)
    entity = np.where(known, at, -1)[of][rows.entity]
    kept = np.flatnonzero(entity >= 0)
    event = rows.event[kept]
    out = {"entity": entity[kept], "event": event + first}
    out |= {name: column[event] for name, column in own.items()}
    return out | {name: column[kept] for name, column in rows.columns.items()}
